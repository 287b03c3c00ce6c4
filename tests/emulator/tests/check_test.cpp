// Every check: a small kernel that does the wrong thing, and beside it one that does it right and passes in silence.
#include "emulator/tests/support.h"

namespace emulator::test {
namespace {

const char* const kShared = ".shared .align 16 .b8 s[1024];\n";

/// Two warps (or more) and 4 KB of global memory behind %rd0; %r1 is the thread's own word in shared memory, %r2 that
/// of the same lane in the other warp, %rd4 the thread's own 16 bytes of global memory.
Report run_body(const std::string& body, uint64_t seed = 0, Dim3 block = {64}) {
  DeviceMemory memory;
  Arguments arguments;
  arguments << upload(memory, std::vector<uint32_t>(1024, 3)) << uint64_t{0} << uint64_t{0} << uint64_t{0};
  const std::string start =
      "mov.u32 %r1, s; xor.b32 %r3, %r0, 32; mad.lo.u32 %r2, %r3, 4, %r1; mad.lo.u32 %r1, %r0, 4, %r1; mad.wide.u32 "
      "%rd4, %r0, 16, %rd0;\n";
  return run(kernel(start + body, kShared), {.grid = {}, .block = block, .seed = seed}, arguments, memory);
}

void check(const std::string& bad, const std::string& problem, const std::string& good) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    CAPTURE(problem);
    CHECK_MESSAGE(mentions(run_body(bad, seed), problem), "not found: " << problem);
    for (const auto& error : run_body(good, seed).errors) FAIL_CHECK(error);
  }
}

TEST_CASE("races between warps, in any order of running") {
  check("st.shared.u32 [%r1], %r0; ld.shared.u32 %r4, [%r2];", "shared memory",  // a race, or not yet written
        "st.shared.u32 [%r1], %r0; bar.sync 0; ld.shared.u32 %r4, [%r2];");
  check("st.shared.u32 [%r1], %r0; bar.sync 0; ld.shared.u32 %r4, [%r2]; st.shared.u32 [%r1], 0;", "race",
        "st.shared.u32 [%r1], %r0; bar.sync 0; ld.shared.u32 %r4, [%r2]; bar.sync 0; st.shared.u32 [%r1], 0;");
  check("st.shared.u32 [s], %r0;", "race with a write", "setp.eq.u32 %p1, %r0, 5; @%p1 st.shared.u32 [s], %r0;");
}

TEST_CASE("a barrier orders only those who take part") {
  // Warps 0 and 1 meet at barrier 1, warps 2 and 3 at barrier 2; what warp 0 wrote, warp 2 may not read.
  const std::string meet = "shr.u32 %r5, %r0, 6; add.u32 %r5, %r5, 1; st.shared.u32 [%r1], %r0; bar.sync %r5, 64;";
  const Report good = run_body(meet + "ld.shared.u32 %r4, [%r2];", 1, {128});
  CHECK(good.errors.empty());
  const Report bad = run_body(
      meet + "xor.b32 %r3, %r0, 64; mov.u32 %r6, s; mad.lo.u32 %r6, %r3, 4, %r6; ld.shared.u32 %r4, [%r6];", 1, {128});
  CHECK(!bad.errors.empty());
}

TEST_CASE("an arrival orders what came before it, for those who wait") {
  const std::string roles = "setp.lt.u32 %p1, %r0, 32;\n";
  check(roles +
            "@%p1 bra PRODUCER; bar.sync 3, 64; ld.shared.u32 %r4, [%r2]; bra END;\nPRODUCER: bar.arrive 3, 64; "
            "st.shared.u32 [%r1], 1;\nEND:",
        "shared memory",
        roles +
            "@%p1 bra PRODUCER; bar.sync 3, 64; ld.shared.u32 %r4, [%r2]; bra END;\nPRODUCER: st.shared.u32 [%r1], 1; "
            "bar.arrive 3, 64;\nEND:");
}

TEST_CASE("uninitialised shared memory") {
  check("ld.shared.u32 %r4, [%r1];", "uninitialised", "st.shared.u32 [%r1], 0; ld.shared.u32 %r4, [%r1];");
  check("st.shared.u16 [%r1], 0; ld.shared.u32 %r4, [%r1];", "uninitialised",
        "st.shared.u32 [%r1], 0; ld.shared.u16 %r4, [%r1];");
}

TEST_CASE("bytes of cp.async: in flight until the wait, the others' only after a barrier") {
  const std::string copy = "cp.async.ca.shared.global [%r1], [%rd4], 4; cp.async.commit_group;\n";
  check(copy + "ld.shared.u32 %r4, [%r1];", "in flight", copy + "cp.async.wait_group 0; ld.shared.u32 %r4, [%r1];");
  check(copy + "cp.async.wait_group 1; ld.shared.u32 %r4, [%r1];", "in flight",
        copy + "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r4, [%r1];");
  check(copy + "bar.sync 0; cp.async.wait_all; ld.shared.u32 %r4, [%r2];", "shared",
        copy + "cp.async.wait_all; bar.sync 0; ld.shared.u32 %r4, [%r2];");
  check("st.shared.u32 [%r1], 0; bar.sync 0; ld.shared.u32 %r4, [%r2];" + copy, "race with a read",
        "st.shared.u32 [%r1], 0; bar.sync 0; ld.shared.u32 %r4, [%r2]; bar.sync 0;" + copy);
}

TEST_CASE("out of bounds, with address, kernel, block and thread") {
  check("ld.global.u32 %r4, [%rd0+4096];", "global memory out of bounds", "ld.global.u32 %r4, [%rd0+4092];");
  check("st.global.v4.u32 [%rd0+-16], {%r0, %r0, %r0, %r0};", "global memory out of bounds",
        "st.global.v4.u32 [%rd4], {%r0, %r0, %r0, %r0};");
  check("st.shared.u32 [s+1024], %r0;", "shared memory out of bounds",
        "setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [s+1020], %r0;");
  check("mov.u64 %rd9, 64; ld.global.u32 %r4, [%rd9];", "global memory out of bounds", "");
  const Report report = run_body("setp.eq.u32 %p1, %r0, 37; @%p1 ld.global.u32 %r4, [%rd0+8192];");
  CHECK(mentions(report, "kernel k, block (0,0,0), thread (37,0,0)"));
  CHECK(mentions(report, "ld.global.u32 %r4, [%rd0+8192];"));
}

TEST_CASE("misaligned accesses") {
  check("ld.global.u32 %r4, [%rd0+2];", "misaligned", "ld.global.u16 %r4, [%rd0+2];");
  check("st.shared.v2.u32 [s+4], {%r0, %r0};", "misaligned",
        "setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.v2.u32 [s+8], {%r0, %r0};");
}

TEST_CASE(".aligned instructions on a diverged warp") {
  check("setp.lt.u32 %p1, %r0, 40; @%p1 bar.sync 0; @!%p1 bar.sync 0;", "diverged",
        "setp.lt.u32 %p1, %r0, 32; @%p1 bar.sync 0; @!%p1 bar.sync 0;");
  const std::string mma =
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r0, %r0}, {%r0}, {%f1, %f2, %f3, %f4};";
  check("setp.lt.u32 %p1, %r0, 40; @%p1 " + mma, "diverged", "setp.lt.u32 %p1, %r0, 32; @%p1 " + mma);
}

TEST_CASE("a deadlock ends with a dump of what each warp waits for") {
  check("setp.lt.u32 %p1, %r0, 32; @%p1 bra END; bar.sync 1, 64;\nEND:", "deadlock", "bar.sync 1, 64;");
  const Report report = run_body("setp.lt.u32 %p1, %r0, 32; @%p1 bar.sync 1, 64; @!%p1 bar.sync 2, 64;");
  CHECK(mentions(report, "warp 0: 32 lanes wait at barrier 1 for 64 threads"));
  CHECK(mentions(report, "warp 1: 32 lanes wait at barrier 2 for 64 threads"));
}

TEST_CASE("a loop without an end is ended") {
  DeviceMemory memory;
  Arguments arguments;
  arguments << uint64_t{0} << uint64_t{0} << uint64_t{0} << uint64_t{0};
  CHECK(mentions(run(kernel("L: bra L;"), {.grid = {}, .block = {32}, .max_steps = 10000}, arguments, memory),
                 "does not end"));
}

TEST_CASE("shuffles that miss a lane") {
  check("setp.lt.u32 %p1, %r0, 16; @%p1 shfl.sync.bfly.b32 %r4, %r0, 16, 31, 0xffff;", "does not take part",
        "setp.lt.u32 %p1, %r0, 16; @%p1 shfl.sync.bfly.b32 %r4, %r0, 8, 31, 0xffff;\n@!%p1 bra END;\nEND:");
  check("and.b32 %r5, %r0, 16; setp.ne.u32 %p1, %r5, 0; @%p1 exit; shfl.sync.bfly.b32 %r4, %r0, 1, 31, -1;",
        "have ended", "shfl.sync.bfly.b32 %r4, %r0, 1, 31, -1;");
  const std::string lane_0 = "setp.eq.u32 %p1, %r0, 0; ", shuffle = "shfl.sync.bfly.b32 %r4, %r0, 1, 31, %r5;";
  check(lane_0 + "selp.b32 %r5, 3, -2, %p1; " + shuffle, "never come",  // lane 0 names lane 1, which names others
        lane_0 + "selp.b32 %r5, -1, -1, %p1; " + shuffle);
}

TEST_CASE("shared memory and outputs start as NaN") {
  DeviceMemory memory;
  const uint64_t out = memory.allocate(8);
  for (float x : download<float>(memory, out, 2)) CHECK(x != x);
  Arguments arguments;
  arguments << out << uint64_t{0} << uint64_t{0} << uint64_t{0};
  run(kernel("ld.shared.f32 %f1, [s]; setp.eq.u32 %p1, %r0, 0; @%p1 st.global.f32 [%rd0], %f1;", kShared),
      {.grid = {}, .block = {32}}, arguments, memory);
  const float x = download<float>(memory, out, 1)[0];
  CHECK(x != x);
}

TEST_CASE("bank conflicts and sectors are counted") {
  const auto wavefronts = [](const std::string& body) {
    const Counters c = run_body(body, 0, {32}).counters;
    return std::pair{c.shared_wavefronts, c.shared_wavefronts_ideal};
  };
  CHECK(wavefronts("st.shared.u32 [%r1], 0;") == std::pair<uint64_t, uint64_t>{1, 1});
  CHECK(wavefronts("mov.u32 %r5, s; mad.lo.u32 %r5, %r0, 16, %r5; st.shared.u32 [%r5], 0;") ==
        std::pair<uint64_t, uint64_t>{4, 1});
  CHECK(wavefronts("mov.u32 %r5, s; mad.lo.u32 %r5, %r0, 16, %r5; st.shared.v4.u32 [%r5], {%r0, %r0, %r0, %r0};") ==
        std::pair<uint64_t, uint64_t>{4, 4});
  CHECK(wavefronts("setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [s], 0; ld.shared.u32 %r4, [s];") ==
        std::pair<uint64_t, uint64_t>{2, 2});
  const Counters near = run_body("mad.wide.u32 %rd9, %r0, 4, %rd0; ld.global.u32 %r4, [%rd9];", 0, {32}).counters;
  CHECK(near.global_sectors == 4);
  CHECK(near.global_sectors_ideal == 4);
  CHECK(near.global_bytes_read == 128);
  const Counters far = run_body("mad.wide.u32 %rd9, %r0, 32, %rd0; ld.global.u32 %r4, [%rd9];", 0, {32}).counters;
  CHECK(far.global_sectors == 32);
  CHECK(far.global_sectors_ideal == 4);
}

TEST_CASE("launches that a driver would refuse") {
  DeviceMemory memory;
  const auto module = Module::parse(kernel(""));
  const uint64_t arguments[4] = {};
  CHECK_THROWS_AS(launch(*module, "nobody", {}, arguments, memory), LaunchError);
  CHECK_THROWS_AS(launch(*module, "k", {.grid = {}, .block = {2048}}, arguments, memory), LaunchError);
  CHECK_THROWS_AS(launch(*module, "k", {.grid = {0}, .block = {32}}, arguments, memory), LaunchError);
}

TEST_CASE("device memory: guards, bounds, releases") {
  DeviceMemory memory;
  const uint64_t a = memory.allocate(100);
  CHECK(memory.contains(a + 99));
  CHECK(!memory.contains(a + 100));
  CHECK_THROWS_AS(memory.host(a + 1, 100), MemoryFault);
  CHECK_THROWS_AS(memory.release(a + 4), MemoryFault);
  static_cast<char*>(memory.host(a, 100))[100] = 0;
  CHECK_THROWS_AS(memory.release(a), MemoryFault);
  memory.release(memory.allocate(0));
  memory.release(0);
}

}  // namespace
}  // namespace emulator::test
