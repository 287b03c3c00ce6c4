# Builds for 64-bit ARM on another machine and runs the tests under qemu-user:
#   cmake -S . -B build-aarch64 --toolchain cmake/toolchain-aarch64.cmake -DALBERT_FAST_PYTHON=OFF -DALBERT_FAST_CUDA=OFF
#         -DALBERT_FAST_TESTS=ON
# Debian and Ubuntu: apt install g++-aarch64-linux-gnu qemu-user doctest-dev
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# Libraries and headers are the target's; programs are this machine's.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
