// engine_test RUNTIME FILE...: what the library reads in engine files, a line each.
#include <iostream>

#include "runtime/engine_file.h"

int main(int argc, char **argv) {
  for (int i = 2; i < argc; ++i)
    try {
      const bottomup::EngineFile file = bottomup::read_engine(argv[i], argv[1]);
      std::cout << file.engine << ' ' << file.description.settings.architecture.feature_dim;
      for (const int64_t side : file.description.resolutions)
        std::cout << ' ' << side;
      std::cout << (file.description.takes_origin ? " origin\n" : "\n");
    } catch (const bottomup::Error &error) {
      std::cout << error.what() << '\n';
    }
}
