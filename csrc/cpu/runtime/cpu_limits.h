// What a process may use beyond its affinity mask says: the CPU time its control groups grant, and OMP_NUM_THREADS.
#pragma once

#include <optional>
#include <string>

namespace albert_fast::cpu {

/// CPUs' worth of time that the quotas of a process's control groups grant, rounded up; nothing without a quota. The
/// least of the group and those above it counts. `membership` is a /proc/PID/cgroup, `root` where the hierarchies are
/// mounted; both versions of control groups are read (cpu.max; cpu.cfs_quota_us), and what cannot be read limits
/// nothing.
std::optional<int> cgroup_cpus(const std::string& membership, const std::string& root);

/// The first number of OMP_NUM_THREADS ("4", "4,2"); nothing if there is none or it is below 1, as OpenMP has it.
std::optional<int> omp_num_threads(const char* value);

}  // namespace albert_fast::cpu
