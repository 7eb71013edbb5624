// segment MODEL.pt2 IMAGE.ppm LABELS.pgm: writes the label of every pixel as 16 bits.
#include <bottomup/model_file.h>
#include <bottomup/segmenter.h>

#include <fstream>
#include <iostream>
#include <vector>

struct Image {
  std::vector<unsigned char> bytes;
  bottomup::ImageView view;
};

// A binary grey (P5) or colour (P6) image of the netpbm formats, of 8 bits.
Image read_image(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t width = 0, height = 0, largest = 0;
  file >> magic >> width >> height >> largest;
  file.get();
  if (!file || (magic != "P5" && magic != "P6") || largest != 255 || width < 1 || height < 1 ||
      width > (1 << 28) / height)
    throw bottomup::Error(path + ": expected a binary PPM or PGM image of 8 bits");
  const int channels = magic == "P6" ? 3 : 1;
  Image image{std::vector<unsigned char>(height * width * channels), {}};
  if (!file.read(reinterpret_cast<char *>(image.bytes.data()), image.bytes.size()))
    throw bottomup::Error(path + ": is cut off");
  image.view = {image.bytes.data(), height, width, channels, 8};
  return image;
}

void write_labels(const std::string &path, const bottomup::LabelMap &labels) {
  std::ofstream file(path, std::ios::binary);
  file << "P5\n" << labels.width << " " << labels.height << "\n65535\n";
  for (const int32_t label : labels.values)
    file.put(static_cast<char>(label >> 8)).put(static_cast<char>(label));
  if (!file.flush())
    throw bottomup::Error(path + ": cannot be written");
}

int main(int argc, char **argv) try {
  if (argc != 4)
    throw bottomup::Error("usage: segment MODEL.pt2 IMAGE.ppm LABELS.pgm");
  const bottomup::Model model = bottomup::open_model(argv[1]);
  const bottomup::Segmenter segmenter(model.settings, model.network);
  const bottomup::Segmentation found = segmenter.segment(read_image(argv[2]).view);
  write_labels(argv[3], found.labels);
  std::cout << found.num_segments() << " segments\n";
} catch (const std::exception &error) {
  std::cerr << "segment: " << error.what() << "\n";
  return 2;
}
