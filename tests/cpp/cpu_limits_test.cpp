// CPU quotas of control groups, both versions, and OMP_NUM_THREADS.
#include "cpu/runtime/cpu_limits.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace albert_fast::testing {
namespace {

/// A made-up machine: files below a folder that goes away with it.
class Machine {
 public:
  Machine() {
    std::string name = (std::filesystem::temp_directory_path() / "cpu_limits_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  ~Machine() { std::filesystem::remove_all(root_); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Machine& file(const std::string& path, const std::string& content) {
    const auto full = root_ / path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << content;
    return *this;
  }
  /// CPUs, or 0 for no limit.
  int cpus() const { return cpu::cgroup_cpus((root_ / "self").string(), (root_ / "fs").string()).value_or(0); }

 private:
  std::filesystem::path root_;
};

TEST_CASE("a quota of version 2, rounded up") {
  CHECK(Machine().file("self", "0::/a/b\n").file("fs/a/b/cpu.max", "200000 100000\n").cpus() == 2);
  CHECK(Machine().file("self", "0::/a/b\n").file("fs/a/b/cpu.max", "150000 100000\n").cpus() == 2);
  CHECK(Machine().file("self", "0::/a\n").file("fs/a/cpu.max", "10000 100000\n").cpus() == 1);
  CHECK(Machine().file("self", "0::/a\n").file("fs/a/cpu.max", "max 100000\n").cpus() == 0);
}

TEST_CASE("the least quota from the group to the mount counts") {
  Machine nested;
  nested.file("self", "0::/a/b\n").file("fs/a/b/cpu.max", "800000 100000\n").file("fs/a/cpu.max", "300000 100000\n");
  CHECK(nested.cpus() == 3);
  // In a container the group's path may be the host's, while the mount is the group itself.
  CHECK(Machine().file("self", "0::/docker/0123\n").file("fs/cpu.max", "400000 100000\n").cpus() == 4);
  CHECK(Machine().file("self", "0::/\n").file("fs/cpu.max", "500000 100000\n").cpus() == 5);
}

TEST_CASE("a quota of version 1") {
  Machine old;
  old.file("self", "7:memory:/x\n4:cpu,cpuacct:/job\n0::/\n");
  CHECK(old.cpus() == 0);
  old.file("fs/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
  old.file("fs/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  CHECK(old.cpus() == 3);
  old.file("fs/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  CHECK(old.cpus() == 0);
  Machine other;  // "cpuset" and "cpuacct" are not "cpu"
  other.file("self", "3:cpuacct:/job\n2:cpuset:/job\n");
  other.file("fs/cpuacct/job/cpu.cfs_quota_us", "100000").file("fs/cpuacct/job/cpu.cfs_period_us", "100000");
  CHECK(other.cpus() == 0);
}

TEST_CASE("what cannot be read limits nothing") {
  CHECK(cpu::cgroup_cpus("/nonexistent", "/nonexistent") == std::nullopt);
  CHECK(Machine().file("self", "garbage\n0::\n:::\n").cpus() == 0);
  CHECK(Machine().file("self", "0::/a\n").file("fs/a/cpu.max", "").cpus() == 0);
  CHECK(Machine().file("self", "0::/a\n").file("fs/a/cpu.max", "lots of\n").cpus() == 0);
  CHECK(Machine().file("self", "0::/a\n").file("fs/a/cpu.max", "100000 0\n").cpus() == 0);
}

TEST_CASE("OMP_NUM_THREADS as OpenMP reads it") {
  CHECK(cpu::omp_num_threads("3") == 3);
  CHECK(cpu::omp_num_threads(" 4,2") == 4);
  for (const char* value : {"", "0", "-2", "many", "2x", "99999999999999999999"}) {
    CHECK(cpu::omp_num_threads(value) == std::nullopt);
  }
  CHECK(cpu::omp_num_threads(nullptr) == std::nullopt);
}

}  // namespace
}  // namespace albert_fast::testing
