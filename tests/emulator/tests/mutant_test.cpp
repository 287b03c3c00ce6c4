// Who tests the tester: each barrier, wait and commit of the GEMM is taken out of its PTX, one at a time, and chunks
// are moved to wrong places. Every mutant must be caught: by a report, or by a wrong result.
#include "emulator/tests/gemm.h"

namespace emulator::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// The text with line `at` replaced.
std::string with_line(std::vector<std::string> lines, size_t at, const std::string& replacement) {
  lines[at] = replacement;
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

bool caught(const std::string& ptx, const Gemm& gemm) {
  const auto module = Module::parse(ptx);
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const auto outcome = gemm.run(*module, seed);
    if (!outcome.right || !outcome.report.errors.empty()) return true;
  }
  return false;
}

TEST_CASE("without any one of its barriers, waits and commits, the GEMM is caught") {
  const auto lines = lines_of(compiled("mma_gemm"));
  const Gemm gemm(64, 64, 256);
  int tried = 0, found = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    for (const char* name : {"bar.sync", "cp.async.wait_group", "cp.async.commit_group"}) {
      if (lines[i].find(name) == std::string::npos) continue;
      ++tried;
      const bool is_caught = caught(with_line(lines, i, ""), gemm);
      found += is_caught;
      CHECK_MESSAGE(is_caught, "survived without line " << i + 1 << ": " << lines[i]);
    }
  }
  MESSAGE("mutants without an instruction: " << found << " of " << tried << " caught");
  CHECK(tried >= 4);
}

TEST_CASE("a wait for too few groups is caught") {
  const auto lines = lines_of(compiled("mma_gemm"));
  const Gemm gemm(64, 64, 256);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find("cp.async.wait_group") != std::string::npos)
      CHECK(caught(with_line(lines, i, "cp.async.wait_group 2;"), gemm));
  }
}

TEST_CASE("a matrix loaded from the wrong place, or a product with the wrong registers, is caught") {
  const auto lines = lines_of(compiled("mma_gemm"));
  const Gemm gemm(64, 64, 64);
  int tried = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find("ldmatrix") == std::string::npos) continue;
    ++tried;
    std::string moved = lines[i];
    moved.replace(moved.find(']'), 1, "+16]");
    CHECK(caught(with_line(lines, i, moved), gemm));
  }
  CHECK(tried >= 8);
}

}  // namespace
}  // namespace emulator::test
