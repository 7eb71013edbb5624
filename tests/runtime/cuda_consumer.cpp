// A program that uses the CUDA side of the installed library: prints what it found, or why not.
#include <bottomup/cuda.h>
#include <bottomup/model_file.h>

#include <iostream>

class Nothing : public bottomup::CudaNetwork {
public:
  Nothing() : CudaNetwork(4) {}
  std::unique_ptr<bottomup::CudaNetworkContext> prepare(bottomup::ImageSize) const override {
    return nullptr;
  }
};

template <typename Work> void say(const char *name, const Work &work) {
  try {
    work();
    std::cout << name << ": works\n";
  } catch (const bottomup::Error &error) {
    std::cout << name << ": " << error.what() << "\n";
  }
}

int main(int argc, char **argv) {
  say("clustering", [] { bottomup::CudaClustering(4, 8, 8); });
  say("network", [] { Nothing(); });
  for (int i = 1; i < argc; ++i)
    say("model", [&] { bottomup::open_model(argv[i]); });
}
