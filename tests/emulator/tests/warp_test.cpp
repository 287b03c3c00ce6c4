// What lanes and threads do together: divergence, shuffles, votes, atomics, barriers, memory of every width.
#include <numeric>

#include "emulator/tests/support.h"

namespace emulator::test {
namespace {

using Words = Lanes<uint32_t, uint32_t, uint32_t, uint32_t>;

Words words() {
  return {random_bits<uint32_t>(), random_bits<uint32_t>(), random_bits<uint32_t>(), random_bits<uint32_t>()};
}

void check_shuffle(const std::string& mode, int control, int (*from)(int lane, int b), const std::string& amount) {
  CAPTURE(mode);
  Words x = words();
  for (auto& b : x.b) b = amount == "%b" ? generator()() % 32 : static_cast<uint32_t>(std::stoi(amount));
  const auto y = run_lanes("shfl.sync." + mode + ".b32 %d|%p1, %a, " + amount + ", " + std::to_string(control) +
                               ", -1; @!%p1 add.u32 %d, %d, 1;",
                           x);
  for (int l = 0; l < 32; ++l) {
    const int source = from(l, static_cast<int>(x.b[l]));
    CHECK(y.d[l] == (source >= 0 ? x.a[source] : x.a[l] + 1));
  }
}

TEST_CASE("shuffles, in whole warps and in segments of eight") {
  check_shuffle("up", 0, [](int l, int b) { return l - b; }, "3");
  check_shuffle("down", 31, [](int l, int b) { return l + b < 32 ? l + b : -1; }, "5");
  check_shuffle("bfly", 31, [](int l, int b) { return l ^ b; }, "9");
  check_shuffle("idx", 31, [](int, int b) { return b; }, "%b");
  check_shuffle("down", 0x1807, [](int l, int b) { return l % 8 + b < 8 ? l + b : -1; }, "3");
  check_shuffle("idx", 0x1807 | 0x18, [](int l, int b) { return l / 8 * 8 + b % 8; }, "%b");
}

TEST_CASE("votes, matches, reductions") {
  const auto y = run_lanes("and.b32 %a, %a, 3; setp.eq.u32 %p1, %a, 1; vote.sync.ballot.b32 %d, %p1, -1;", words());
  uint32_t ballot = 0;
  for (int l = 0; l < 32; ++l) ballot |= static_cast<uint32_t>((y.a[l] & 3) == 1) << l;
  for (int l = 0; l < 32; ++l) CHECK(y.d[l] == ballot);
  const auto z = run_lanes("and.b32 %a, %a, 3; match.any.sync.b32 %d, %a, -1;", words());
  for (int l = 0; l < 32; ++l) {
    for (int m = 0; m < 32; ++m) CHECK((z.d[l] >> m & 1) == ((z.a[l] & 3) == (z.a[m] & 3)));
  }
  const auto s = run_lanes("redux.sync.add.s32 %d, %a, -1;", words());
  for (int l = 0; l < 32; ++l) CHECK(s.d[l] == std::accumulate(s.a.begin(), s.a.end(), 0u));
}

TEST_CASE("lanes that part meet again: a loop of as many turns as the lane's number, then a shuffle by all") {
  const auto y = run_lanes(
      "mov.u32 %r1, 0; mov.u32 %d, 0;\nLOOP: setp.ge.u32 %p1, %r1, %r0; @%p1 bra DONE; add.u32 %d, %d, %a; "
      "add.u32 %r1, %r1, 1; bra LOOP;\nDONE: shfl.sync.bfly.b32 %d, %d, 1, 31, -1;",
      words());
  for (uint32_t l = 0; l < 32; ++l) CHECK(y.d[l] == y.a[l ^ 1] * (l ^ 1));
}

TEST_CASE("lanes wait for those that their member mask names, wherever these come from") {
  // Odd lanes reach the shuffle by another path, later in the text.
  const auto y = run_lanes(
      "and.b32 %r1, %r0, 1; setp.eq.u32 %p1, %r1, 0; @%p1 bra EVEN; add.u32 %a, %a, 7; bra JOIN;\n"
      "EVEN: add.u32 %a, %a, 9;\nJOIN: shfl.sync.bfly.b32 %d, %a, 1, 31, -1;",
      words());
  for (int l = 0; l < 32; ++l) CHECK(y.d[l] == y.a[l ^ 1] + ((l ^ 1) % 2 ? 7 : 9));
}

TEST_CASE("lanes with other member masks work among themselves, at one instruction") {
  const std::string halves = "and.b32 %r1, %r0, 16; mov.u32 %r2, 0xffff; shl.b32 %r2, %r2, %r1;";
  const auto sums = run_lanes(halves + "redux.sync.add.s32 %d, %a, %r2;", words());
  const auto votes = run_lanes(halves + "setp.lt.u32 %p1, %r0, 3; vote.sync.ballot.b32 %d, %p1, %r2;", words());
  const auto shuffled = run_lanes(halves + "shfl.sync.bfly.b32 %d, %a, 1, 31, %r2;", words());
  // The upper half of each quarter comes later, by another path.
  const auto parted = run_lanes(halves +
                                    "and.b32 %r3, %r0, 4; setp.eq.u32 %p1, %r3, 0; @%p1 bra JOIN; nanosleep.u32 1;"
                                    "\nJOIN: redux.sync.add.s32 %d, %a, %r2;",
                                words());
  for (int l = 0; l < 32; ++l) {
    const int half = l / 16 * 16;
    CHECK(sums.d[l] == std::accumulate(&sums.a[half], &sums.a[half] + 16, 0u));
    CHECK(votes.d[l] == (l < 16 ? 7u : 0u));
    CHECK(shuffled.d[l] == shuffled.a[l ^ 1]);
    CHECK(parted.d[l] == std::accumulate(&parted.a[half], &parted.a[half] + 16, 0u));
  }
}

TEST_CASE("a table of branches") {
  const auto y = run_lanes(
      "and.b32 %r1, %a, 1; mov.u32 %d, 5; TABLE: .branchtargets FIRST, SECOND; brx.idx %r1, TABLE;\n"
      "FIRST: mov.u32 %d, 10; bra END;\nSECOND: mov.u32 %d, 20;\nEND:",
      words());
  for (int l = 0; l < 32; ++l) CHECK(y.d[l] == (y.a[l] & 1 ? 20 : 10));
}

TEST_CASE("loads and stores of every width, extended as the type says") {
  std::vector<uint8_t> bytes(32 * 16);
  for (auto& b : bytes) b = static_cast<uint8_t>(generator()());
  const auto check = [&](const std::string& type, auto example) {
    using T = decltype(example);
    CAPTURE(type);
    DeviceMemory memory;
    const uint64_t out = memory.allocate(32 * 8);
    Arguments arguments;
    arguments << upload(memory, bytes) << out << uint64_t{0} << uint64_t{0};
    const std::string size = std::to_string(sizeof(T));
    const Report report = run(kernel("mad.wide.u32 %rd9, %r0, " + size + ", %rd0; ld.global." + type +
                                     " %rd10, [%rd9]; mad.wide.u32 %rd9, %r0, 8, %rd1; st.global.u64 [%rd9], %rd10;"),
                              {.grid = {}, .block = {32}}, arguments, memory);
    CHECK(report.errors.empty());
    const auto got = download<int64_t>(memory, out, 32);
    for (int l = 0; l < 32; ++l) {
      T value;
      std::memcpy(&value, &bytes[l * sizeof(T)], sizeof(T));
      CHECK(got[l] == static_cast<int64_t>(value));
    }
  };
  check("u8", uint8_t{});
  check("s8", int8_t{});
  check("u16", uint16_t{});
  check("s16", int16_t{});
  check("u32", uint32_t{});
  check("s32", int32_t{});
  check("u64", uint64_t{});
}

TEST_CASE("atomics by 128 threads, on shared and on global memory") {
  DeviceMemory memory;
  const uint64_t out = upload(memory, std::vector<uint32_t>{0, 1000, 0, 0});
  const uint64_t sum = upload(memory, std::vector<float>{0.f});
  Arguments arguments;
  arguments << out << sum << uint64_t{0} << uint64_t{0};
  const Report report =
      run(kernel("setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [s], 0; bar.sync 0; atom.shared.add.u32 %r1, [s], %r0; "
                 "bar.sync 0;"
                 "ld.shared.u32 %r2, [s]; @%p1 st.global.u32 [%rd0], %r2; red.global.min.u32 [%rd0+4], %r0; "
                 "red.global.max.s32 [%rd0+8], %r0;"
                 "atom.global.cas.b32 %r3, [%rd0+12], %r0, 77; atom.global.add.f32 %f1, [%rd1], 0f3F800000;",
                 ".shared .align 4 .b8 s[4];\n"),
          {.grid = {}, .block = {128}}, arguments, memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  CHECK(download<uint32_t>(memory, out, 4) == std::vector<uint32_t>{127 * 64, 0, 127, 77});
  CHECK(download<float>(memory, sum, 1)[0] == 128.f);
  CHECK(report.counters.barriers == 2);
}

TEST_CASE("barriers that count, and ask whether all or any") {
  DeviceMemory memory;
  const uint64_t out = memory.allocate(96 * 4);
  Arguments arguments;
  arguments << out << uint64_t{0} << uint64_t{0} << uint64_t{0};
  const Report report = run(kernel("setp.gt.u32 %p1, %r0, 40; bar.red.popc.u32 %r1, 0, %p1; bar.red.and.pred %p2, 0, "
                                   "%p1; bar.red.or.pred %p3, 0, %p1; bar.red.and.pred %p4, 0, !%p2;"
                                   "@%p2 add.u32 %r1, %r1, 100; @%p3 add.u32 %r1, %r1, 200; @%p4 add.u32 %r1, %r1, "
                                   "400; mad.wide.u32 %rd9, %r0, 4, %rd0; st.global.u32 [%rd9], %r1;"),
                            {.grid = {}, .block = {96}}, arguments, memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
  for (uint32_t x : download<uint32_t>(memory, out, 96)) CHECK(x == 55 + 200 + 400);
}

TEST_CASE("cp.async may end with its allocation, where the rest is zeros") {
  DeviceMemory memory;
  Arguments arguments;
  arguments << upload(memory, std::vector<uint32_t>{1, 2, 3, 4, 5}) << memory.allocate(16) << uint64_t{0}
            << uint64_t{0};
  const Report report = run(
      kernel("setp.ne.u32 %p1, %r0, 0; @%p1 exit; cp.async.cg.shared.global [s], [%rd0+16], 16, 4; cp.async.wait_all; "
             "ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [s]; st.global.v4.u32 [%rd1], {%r1, %r2, %r3, %r4};",
             ".shared .align 16 .b8 s[16];\n"),
      {.grid = {}, .block = {32}}, arguments, memory);
  for (const auto& error : report.errors) FAIL_CHECK(error);
}

TEST_CASE("cp.async lands what it says, zeros included") {
  for (int bytes : {4, 8, 16}) {
    std::vector<uint8_t> source(32 * 16);
    for (auto& b : source) b = static_cast<uint8_t>(generator()());
    DeviceMemory memory;
    const uint64_t out = memory.allocate(32 * 16);
    Arguments arguments;
    arguments << upload(memory, source) << out << uint64_t{0} << uint64_t{0};
    const std::string n = std::to_string(bytes);
    // Lane l reads min(l, bytes) bytes; then every lane passes its bytes on, one word at a time.
    const Report report = run(kernel("mov.u32 %r1, s; mad.lo.u32 %r1, %r0, " + n + ", %r1; mad.wide.u32 %rd9, %r0, " +
                                         n + ", %rd0; min.u32 %r2, %r0, " + n +
                                         ";"
                                         "cp.async.ca.shared.global [%r1], [%rd9], " +
                                         n +
                                         ", %r2; cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;"
                                         "mad.wide.u32 %rd9, %r0, " +
                                         n +
                                         ", %rd1; mov.u32 %r3, 0;\n"
                                         "L: ld.shared.u32 %r4, [%r1]; st.global.u32 [%rd9], %r4; add.u32 %r1, %r1, 4; "
                                         "add.u64 %rd9, %rd9, 4; add.u32 %r3, %r3, 4; setp.lt.u32 %p1, %r3, " +
                                         n + "; @%p1 bra L;",
                                     ".shared .align 16 .b8 s[512];\n"),
                              {.grid = {}, .block = {32}}, arguments, memory);
    for (const auto& error : report.errors) FAIL_CHECK(error);
    const auto got = download<uint8_t>(memory, out, 32 * bytes);
    for (int i = 0; i < 32 * bytes; ++i) CHECK(got[i] == (i % bytes < i / bytes ? source[i] : 0));
  }
}

TEST_CASE("what the machine does not know is an error that quotes the line") {
  for (const char* line :
       {"frobnicate.b32 %r1, %r2;", "add.f32.wobble %f1, %f2, %f3;",
        "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f32 {%fd1, %fd2}, {%fd3}, {%fd4}, {%fd1, %fd2};",
        "mov.u32 %r1, %nosuch;"}) {
    try {
      Module::parse(kernel(line));
      FAIL_CHECK("accepted: " << line);
    } catch (const ParseError& e) {
      CHECK(std::string(e.what()).find(line) != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace emulator::test
