# Decides whether the CUDA backend is built, and for which targets.
#
#   ALBERT_FAST_CUDA=AUTO   when nvcc is found: for the GPU of this machine if there is one, else one PTX target, so
#                           that an install stays short
#   ALBERT_FAST_CUDA=ON     always; without nvcc the configuration fails
#   ALBERT_FAST_CUDA=ALL    always, for every target
#   ALBERT_FAST_CUDA=OFF    never
#   CMAKE_CUDA_ARCHITECTURES, if given, names the targets itself

# Machine code for every generation from Ampere on, and PTX of the newest for those to come; releases and CI build these.
set(ALBERT_FAST_ALL_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120)

if(ALBERT_FAST_CUDA STREQUAL "ALL")
  set(ALBERT_FAST_CUDA ON)
  set(CMAKE_CUDA_ARCHITECTURES ${ALBERT_FAST_ALL_CUDA_ARCHITECTURES})
endif()
if(NOT ALBERT_FAST_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ALBERT_FAST_CUDA: got '${ALBERT_FAST_CUDA}', expected AUTO, ON, OFF or ALL")
endif()
if(ALBERT_FAST_CUDA STREQUAL "OFF")
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND nvidia-smi -L OUTPUT_VARIABLE gpus RESULT_VARIABLE no_gpu ERROR_QUIET)
  if(no_gpu OR NOT gpus MATCHES "GPU 0")
    set(CMAKE_CUDA_ARCHITECTURES 80-virtual)
  else()
    set(CMAKE_CUDA_ARCHITECTURES native)
  endif()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(ALBERT_FAST_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ALBERT_FAST_CUDA=ON, but no nvcc was found; put it on PATH or set CMAKE_CUDA_COMPILER")
  endif()
  message(STATUS "CUDA backend: not built, no nvcc found")
  return()
endif()

enable_language(CUDA)
message(STATUS "CUDA backend: built for ${CMAKE_CUDA_ARCHITECTURES}")
add_subdirectory(cuda)
