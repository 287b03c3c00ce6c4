// ptxrun: runs one kernel of a PTX file with inputs given on the command line, and prints what it did wrong and what it
// cost. The exit status is 1 if there were errors.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "emulator/machine/machine.h"

namespace {

using emulator::Dim3;

constexpr const char* kUsage =
    "usage: ptxrun FILE.ptx [--kernel NAME] [--grid X,Y,Z] [--block X,Y,Z] [--shared BYTES] [--arg ARG ...]\n"
    "              [--seed N] [--threads N] [--dump ARG_NUMBER[:COUNT] ...]\n"
    "  ARG  TYPE:VALUE                    a scalar: i32:7 i64:-1 u32:7 u64:7 f32:1.5 f64:1.5 u16:0x3c00 u8:1\n"
    "       buffer:TYPE:COUNT[:FILL]      device memory; FILL is random (in [-1, 1), or 0..99 for integers), zero, "
    "iota,\n"
    "                                     nan (the default) or file=PATH (raw bytes); TYPE also f16, bf16\n"
    "  Without --kernel: the kernels of the file, with their parameters.\n";

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "ptxrun: %s\n", message.c_str());
  std::exit(2);
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

size_t size_of(const std::string& type) {
  if (type == "u8" || type == "i8") return 1;
  if (type == "u16" || type == "i16" || type == "f16" || type == "bf16") return 2;
  if (type == "u32" || type == "i32" || type == "f32") return 4;
  if (type == "u64" || type == "i64" || type == "f64") return 8;
  fail("an unknown type: " + type);
}

uint16_t half_bits(float value) {  // to nearest, for numbers that are normal or zero in f16
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffff) < 0x38800000) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t rounded = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | ((rounded >> 13) - (112 << 10)));
}

/// The bytes of `value` as a number of that type.
void write_number(const std::string& type, double value, void* to) {
  const size_t size = size_of(type);
  const auto f = static_cast<float>(value);
  uint32_t f_bits;
  std::memcpy(&f_bits, &f, 4);
  uint64_t bits = type[0] == 'u' ? static_cast<uint64_t>(value) : static_cast<uint64_t>(static_cast<int64_t>(value));
  if (type == "f32") bits = f_bits;
  if (type == "f64") std::memcpy(&bits, &value, 8);
  if (type == "f16") bits = half_bits(f);
  if (type == "bf16") bits = (f_bits + 0x7fff + (f_bits >> 16 & 1)) >> 16;
  std::memcpy(to, &bits, size);
}

double read_number(const std::string& type, const void* from) {
  uint64_t bits = 0;
  const size_t size = size_of(type);
  std::memcpy(&bits, from, size);
  float f;
  double d;
  auto f_bits = static_cast<uint32_t>(type == "bf16" ? bits << 16 : bits);
  if (type == "f16")
    f_bits = static_cast<uint32_t>((bits & 0x8000) << 16 | (bits & 0x7fff ? ((bits & 0x7fff) << 13) + (112 << 23) : 0));
  std::memcpy(&f, &f_bits, 4);
  std::memcpy(&d, &bits, 8);
  if (type == "f64") return d;
  if (type[0] == 'f' || type == "bf16") return f;
  if (type[0] == 'i') return static_cast<double>(static_cast<int64_t>(bits << (64 - 8 * size)) >> (64 - 8 * size));
  return static_cast<double>(bits);
}

struct Buffer {
  std::string type;
  size_t count = 0;
  uint64_t address = 0;
};

struct Options {
  std::string file, kernel;
  emulator::LaunchConfig launch;
  std::vector<std::string> arguments, dumps;
};

Dim3 dim3_of(const std::string& text) {
  const auto parts = split(text, ',');
  uint32_t d[3] = {1, 1, 1};
  for (size_t i = 0; i < std::min<size_t>(parts.size(), 3); ++i) d[i] = static_cast<uint32_t>(std::stoul(parts[i]));
  return {d[0], d[1], d[2]};
}

Options parse_options(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (!name.starts_with("--")) {
      o.file = name;
      continue;
    }
    if (++i == argc) fail(name + " needs a value");
    const std::string value = argv[i];
    if (name == "--kernel")
      o.kernel = value;
    else if (name == "--grid")
      o.launch.grid = dim3_of(value);
    else if (name == "--block")
      o.launch.block = dim3_of(value);
    else if (name == "--shared")
      o.launch.dynamic_shared = std::stoull(value, nullptr, 0);
    else if (name == "--seed")
      o.launch.seed = std::stoull(value);
    else if (name == "--threads")
      o.launch.num_threads = std::stoi(value);
    else if (name == "--arg")
      o.arguments.push_back(value);
    else if (name == "--dump")
      o.dumps.push_back(value);
    else
      fail("an unknown option: " + name);
  }
  if (o.file.empty()) fail(std::string("no file\n") + kUsage);
  return o;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void fill(const Buffer& b, const std::string& how, std::mt19937_64& random, void* to) {
  const size_t size = size_of(b.type);
  auto* bytes = static_cast<unsigned char*>(to);
  if (how.starts_with("file=")) {
    const std::string contents = read_file(how.substr(5));
    if (contents.size() != size * b.count) fail(how + " has another size than its buffer");
    std::memcpy(bytes, contents.data(), contents.size());
    return;
  }
  if (how == "nan") return;  // new memory is
  const bool real = b.type[0] == 'f' || b.type == "bf16";
  for (size_t i = 0; i < b.count; ++i) {
    double value = 0;
    if (how == "iota") value = static_cast<double>(i);
    if (how == "random")
      value = real ? std::uniform_real_distribution<>(-1, 1)(random) : static_cast<double>(random() % 100);
    write_number(b.type, value, bytes + i * size);
  }
  if (how != "iota" && how != "random" && how != "zero") fail("an unknown filling: " + how);
}

std::vector<unsigned char> parameter_block(const Options& o, const emulator::KernelInfo& info,
                                           emulator::DeviceMemory& memory, std::vector<Buffer>& buffers) {
  if (o.arguments.size() != info.parameters.size()) {
    fail(info.name + " has " + std::to_string(info.parameters.size()) + " parameters, " +
         std::to_string(o.arguments.size()) + " were given");
  }
  std::mt19937_64 random(o.launch.seed);
  std::vector<unsigned char> block(info.parameter_bytes());
  buffers.resize(o.arguments.size());
  for (size_t i = 0; i < o.arguments.size(); ++i) {
    const auto parts = split(o.arguments[i], ':');
    const bool is_buffer = parts[0] == "buffer";
    if (parts.size() < (is_buffer ? 3 : 2)) fail("not an argument: " + o.arguments[i]);
    const size_t size = is_buffer ? 8 : size_of(parts[0]);
    if (size != info.parameters[i].size)
      fail("argument " + std::to_string(i) + " has " + std::to_string(size) + " bytes, the parameter " +
           std::to_string(info.parameters[i].size));
    if (is_buffer) {
      Buffer& b = buffers[i];
      b = {parts[1], std::stoull(parts[2], nullptr, 0), 0};
      b.address = memory.allocate(b.count * size_of(b.type));
      fill(b, parts.size() > 3 ? parts[3] : "nan", random, memory.host(b.address, b.count * size_of(b.type)));
      std::memcpy(&block[info.parameters[i].offset], &b.address, 8);
    } else if (parts[0][0] == 'f') {
      write_number(parts[0], std::stod(parts[1]), &block[info.parameters[i].offset]);
    } else {
      const uint64_t bits = parts[1][0] == '-' ? static_cast<uint64_t>(std::stoll(parts[1], nullptr, 0))
                                               : std::stoull(parts[1], nullptr, 0);
      std::memcpy(&block[info.parameters[i].offset], &bits, size);
    }
  }
  return block;
}

void print_counters(const emulator::Counters& c) {
  const auto ratio = [](uint64_t real, uint64_t ideal) {
    return ideal ? static_cast<double>(real) / static_cast<double>(ideal) : 1.0;
  };
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("warp instructions           %12llu\n", number(c.total()));
  for (size_t k = 0; k < c.instructions.size(); ++k) {
    if (c.instructions[k])
      std::printf("  %-24s  %12llu\n", emulator::name_of(static_cast<emulator::InstructionClass>(k)),
                  number(c.instructions[k]));
  }
  std::printf("shared wavefronts           %12llu   %.2f of ideal\n", number(c.shared_wavefronts),
              ratio(c.shared_wavefronts, c.shared_wavefronts_ideal));
  std::printf("global sectors              %12llu   %.2f of ideal\n", number(c.global_sectors),
              ratio(c.global_sectors, c.global_sectors_ideal));
  std::printf("global bytes read, written  %12llu %12llu\n", number(c.global_bytes_read),
              number(c.global_bytes_written));
  std::printf("barriers                    %12llu\n", number(c.barriers));
  std::printf("tensor flops                %12llu\n", number(c.tensor_flops));
}

void dump(const std::vector<std::string>& dumps, const std::vector<Buffer>& buffers) {
  for (const std::string& what : dumps) {
    const auto parts = split(what, ':');
    const size_t index = std::stoull(parts[0]);
    if (index >= buffers.size() || buffers[index].address == 0) fail("argument " + parts[0] + " is no buffer");
    const Buffer& b = buffers[index];
    const size_t count = parts.size() > 1 ? std::min<size_t>(std::stoull(parts[1]), b.count) : b.count;
    std::printf("argument %zu:", index);
    for (size_t i = 0; i < count; ++i)
      std::printf(" %.9g",
                  read_number(b.type, reinterpret_cast<const unsigned char*>(b.address) + i * size_of(b.type)));
    std::printf("\n");
  }
}

void list(const emulator::Module& module) {
  for (const std::string& name : module.kernels()) {
    const emulator::KernelInfo& info = *module.find(name);
    std::printf("%s: static shared %zu bytes", name.c_str(), info.static_shared);
    if (info.max_threads) std::printf(", at most %u threads", info.max_threads);
    for (const auto& p : info.parameters) std::printf("\n  %4zu: %zu bytes  %s", p.offset, p.size, p.name.c_str());
    std::printf("\n");
  }
}

int run(const Options& o) {
  const auto module = emulator::Module::parse(read_file(o.file));
  if (o.kernel.empty()) {
    list(*module);
    return 0;
  }
  const emulator::KernelInfo* info = module->find(o.kernel);
  if (!info) fail("no kernel " + o.kernel + " in " + o.file);
  emulator::DeviceMemory memory;
  std::vector<Buffer> buffers;
  const auto block = parameter_block(o, *info, memory, buffers);
  const emulator::Report report = emulator::launch(*module, o.kernel, o.launch, block.data(), memory);
  for (const std::string& error : report.errors) std::printf("error: %s\n", error.c_str());
  print_counters(report.counters);
  dump(o.dumps, buffers);
  return report.errors.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse_options(argc, argv));
  } catch (const std::exception& e) {
    fail(e.what());
  }
}
