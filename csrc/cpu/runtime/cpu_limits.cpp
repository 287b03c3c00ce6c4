#include "cpu/runtime/cpu_limits.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace albert_fast::cpu {
namespace {

std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return end == text.c_str() ? std::nullopt : std::optional(value);
}

std::string first_word(const std::string& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

/// CPUs of one group, by version 2 or 1; "max" and -1 stand for no quota.
std::optional<double> quota_of(const std::string& folder) {
  std::string quota, period;
  if (std::ifstream file(folder + "/cpu.max"); file) {
    file >> quota >> period;
  } else {
    quota = first_word(folder + "/cpu.cfs_quota_us");
    period = first_word(folder + "/cpu.cfs_period_us");
  }
  const auto time = number(quota), of = number(period);
  if (!time || !of || !(*time > 0) || !(*of > 0)) return std::nullopt;
  return *time / *of;
}

/// The least quota of a group and those above it, up to the mount.
std::optional<double> least_quota(const std::string& mount, std::string group) {
  std::optional<double> least;
  for (;;) {
    if (const auto cpus = quota_of(mount + group); cpus && (!least || *cpus < *least)) least = cpus;
    const auto slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

}  // namespace

std::optional<int> cgroup_cpus(const std::string& membership, const std::string& root) {
  std::optional<double> least;
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {  // "0::GROUP", or of version 1 "NUMBER:cpu,cpuacct:GROUP"
    std::istringstream fields(line);
    std::string id, controllers, group;
    if (!std::getline(fields, id, ':') || !std::getline(fields, controllers, ':') || !std::getline(fields, group)) {
      continue;
    }
    std::string mount = root;
    if (!controllers.empty()) {
      if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
      mount += "/" + controllers;
    }
    if (const auto cpus = least_quota(mount, group); cpus && (!least || *cpus < *least)) least = cpus;
  }
  if (!least || *least > INT_MAX) return std::nullopt;
  return std::max(1, static_cast<int>(std::ceil(*least)));
}

std::optional<int> omp_num_threads(const char* value) {
  if (value == nullptr) return std::nullopt;
  while (*value == ' ' || *value == '\t') ++value;
  int threads = 0;
  const auto [end, error] = std::from_chars(value, value + std::strlen(value), threads);
  if (error != std::errc() || threads < 1 || (*end != '\0' && *end != ',' && *end != ' ')) return std::nullopt;
  return threads;
}

}  // namespace albert_fast::cpu
