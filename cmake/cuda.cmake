# The CUDA backend in the product. With an nvcc (PITH_NVCC, on the path, in the usual place, or from
# `deploy/bootstrap.sh --cuda`) pithd and pith have it; without one the CPU server is built under
# the same names. cudart is linked statically, all else is opened at run time: the same program
# starts and serves on a machine without a driver.
set(PITH_CUDA auto CACHE STRING "auto: where a toolkit is found | on: must be found | off")
set(PITH_NVCC "" CACHE FILEPATH "nvcc to use")
set(PITH_BACKEND_WITHOUT "runtime/backend/cuda/")
set(PITH_CUDA_LINKS)

# Sanitizers and fuzzers have the emulation (cmake/cuda_emulated.cmake).
if(PITH_CUDA STREQUAL "off" OR PITH_SANITIZE OR PITH_FUZZ)
    return()
endif()

set(nvcc ${PITH_NVCC})
if(NOT nvcc)
    file(GLOB wheels
         ${CMAKE_SOURCE_DIR}/build/tools/cuda/lib/python3*/site-packages/nvidia/cu13/bin)
    find_program(nvcc nvcc HINTS ${wheels} /usr/local/cuda/bin NO_CACHE)
endif()
if(NOT nvcc)
    if(PITH_CUDA STREQUAL "on")
        message(FATAL_ERROR "PITH_CUDA is on and there is no nvcc: give PITH_NVCC or run deploy/bootstrap.sh --cuda")
    endif()
    message(STATUS "No CUDA toolkit: the server computes on the CPU")
    return()
endif()

get_filename_component(cuda_root ${nvcc} REALPATH)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
find_file(cudart libcudart_static.a NO_CACHE NO_DEFAULT_PATH
          PATHS ${cuda_root}/lib64 ${cuda_root}/lib ${cuda_root}/targets/x86_64-linux/lib)
find_path(cuda_include cuda_runtime_api.h NO_CACHE NO_DEFAULT_PATH
          PATHS ${cuda_root}/include ${cuda_root}/targets/x86_64-linux/include)
if(NOT cudart OR NOT cuda_include)
    message(FATAL_ERROR "${nvcc} has no libcudart_static.a or cuda_runtime_api.h beside it")
endif()
message(STATUS "CUDA backend: ${nvcc}")

# One command for each .cu: sm_80 and sm_90a code, and PTX for what comes later. What uses Hopper's
# own instructions (*_sm90.cu) is for sm_90a alone; the backend asks for it there alone.
set(ptx80 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80)
set(sm90a -gencode arch=compute_90a,code=sm_90a)
set(cuda_objects)
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu)
foreach(source ${cuda_sources})
    get_filename_component(name ${source} NAME_WE)
    set(targets ${ptx80} ${sm90a})
    if(name MATCHES "_(sm90|wgmma)$")
        set(targets ${sm90a})
    endif()
    set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
    add_custom_command(
        OUTPUT ${object}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
        COMMAND ${nvcc} -std=c++17 -O3 -Xcompiler -fPIC,-fno-strict-aliasing ${targets}
                -I${CMAKE_SOURCE_DIR} -MD -MF ${object}.d -c ${source} -o ${object}
        DEPENDS ${source} DEPFILE ${object}.d COMMENT "nvcc ${name}.cu" VERBATIM)
    list(APPEND cuda_objects ${object})
endforeach()
add_library(pith_cuda_kernels STATIC ${cuda_objects})
set_target_properties(pith_cuda_kernels PROPERTIES LINKER_LANGUAGE CXX)
set_source_files_properties(${cuda_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)

set(PITH_BACKEND_WITHOUT "backend/(no_cuda\\.c|cuda/nothing)")
set_source_files_properties(${CMAKE_SOURCE_DIR}/runtime/backend/cuda/runtime.c
                            PROPERTIES COMPILE_OPTIONS "-isystem;${cuda_include}")
set(PITH_CUDA_LINKS pith_cuda_kernels ${cudart} ${CMAKE_DL_LIBS} rt Threads::Threads stdc++)
