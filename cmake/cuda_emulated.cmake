# The CUDA backend without a GPU: its own files, the kernels compiled as host C++ and kernels/emu, in
# the test programs of tests/runtime/backend/cuda and tests/runtime/backend/ops_test.c. Needs what
# cmake/emu.cmake made; the backend's C files have the directory's flags and sanitizers, the kernels
# have none, for speed: cmake/emu.cmake runs them under every check.
if(NOT TARGET pith_emu)
    return()
endif()

file(GLOB emulated_kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu)
set_source_files_properties(${emulated_kernels} PROPERTIES LANGUAGE CXX)
emu_objects(pith_emulated_kernels SOURCES ${emulated_kernels}
            ${CMAKE_SOURCE_DIR}/runtime/backend/cuda/emulated.cc
            FLAGS -DPK_EMULATE -Wno-unknown-pragmas -O2)

file(GLOB emulated_backend CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/backend/cuda/*.c)
list(FILTER emulated_backend EXCLUDE REGEX "cuda/runtime.c$")
# Objects, not an archive: their pith_cuda_open is taken, not the one that stands in for it.
add_library(pith_backend_emulated OBJECT ${emulated_backend})

# Libraries that stand in for those that the backend opens at run time. They run on the streams of
# the program that opens them, so that exports its symbols.
set(emulated_defines)
set(emulated_fakes)
file(GLOB emulated_libraries CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/tests/runtime/backend/cuda/fake_*.c)
foreach(source ${emulated_libraries})
    get_filename_component(name ${source} NAME_WE)
    add_library(${name} MODULE ${source})
    set_target_properties(${name} PROPERTIES COMPILE_OPTIONS "-O2;-Wall;-Wextra;-Werror"
                          LINK_OPTIONS "")
    string(TOUPPER "PITH_${name}" define)
    list(APPEND emulated_fakes ${name})
    list(APPEND emulated_defines "${define}=\"$<TARGET_FILE:${name}>\"")
endforeach()

# emulated_test(NAME SOURCE LINKS...)
function(emulated_test name source)
    test_parts(parts ${source} ${ARGN})
    add_executable(${name} ${source} ${parts} $<TARGET_OBJECTS:pith_backend_emulated>
                   $<TARGET_OBJECTS:pith_emu> $<TARGET_OBJECTS:pith_emulated_kernels>)
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX ENABLE_EXPORTS ON)
    target_compile_definitions(${name} PRIVATE PITH_EMULATED ${emulated_defines})
    add_dependencies(${name} ${emulated_fakes})
    target_compile_options(${name} PRIVATE -Wno-unused-parameter)
    target_link_libraries(${name} PRIVATE ${ARGN} PkgConfig::CMOCKA ${CMAKE_DL_LIBS} m)
    if(TARGET pith_test_support)
        target_link_libraries(${name} PRIVATE pith_test_support)
    endif()
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}" TIMEOUT 900)
endfunction()

emulated_test(runtime.backend.cuda.ops_test ${CMAKE_SOURCE_DIR}/tests/runtime/backend/ops_test.c
              pith_backend)
# pithd as it is on two emulated GPUs: tests/e2e/device_lost.py (cmake/server_tests.cmake).
if(TARGET pith_cli AND TARGET pith_test_support)
    add_executable(pithd_emulated server/pithd.c tests/server/emulated_faults.c
                   $<TARGET_OBJECTS:pith_backend_emulated> $<TARGET_OBJECTS:pith_emu>
                   $<TARGET_OBJECTS:pith_emulated_kernels>)
    set_target_properties(pithd_emulated PROPERTIES LINKER_LANGUAGE CXX)
    target_link_libraries(pithd_emulated PRIVATE pith_cli ${CMAKE_DL_LIBS} m)
    add_executable(make_tiny_model tests/server/make_tiny_model.c
                   tests/runtime/engine/fixture.c)
    target_compile_options(make_tiny_model PRIVATE -Wno-unused-parameter)
    target_link_libraries(make_tiny_model PRIVATE pith_engine pith_test_support)
endif()

file(GLOB emulated_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/runtime/backend/cuda/*_test.c)
foreach(source ${emulated_tests})
    get_filename_component(name ${source} NAME_WE)
    emulated_test(runtime.backend.cuda.${name} ${source} pith_engine pith_model pith_text)
endforeach()
foreach(name mini edges) # the minutes of these, with the long tests
    if(TARGET runtime.backend.cuda.${name}_test)
        emulated_test(runtime.backend.cuda.${name}_long_test
                      ${CMAKE_SOURCE_DIR}/tests/runtime/backend/cuda/${name}_test.c
                      pith_engine pith_model pith_text)
        target_compile_definitions(runtime.backend.cuda.${name}_long_test
                                   PRIVATE PITH_EMULATED_LONG)
        set_tests_properties(runtime.backend.cuda.${name}_long_test PROPERTIES LABELS long
                             TIMEOUT 1800)
    endif()
endforeach()

# The whole-encoder program of bench/gpu on the emulation: a line of JSON in which no text alone has
# other bits. How it swaps one fast kernel in is a test of its own.
add_executable(bench.gpu.encoder bench/gpu/encoder.c bench/gpu/random_weights.c bench/gpu/swap.c
               tests/bench/gpu_sm90.c $<TARGET_OBJECTS:pith_backend_emulated>
               $<TARGET_OBJECTS:pith_emu> $<TARGET_OBJECTS:pith_emulated_kernels>)
set_target_properties(bench.gpu.encoder PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(bench.gpu.encoder PRIVATE pith_model pith_backend ${CMAKE_DL_LIBS} m)
foreach(operation qkv_rope geglu linear attn heads)
    target_link_options(bench.gpu.encoder PRIVATE -Wl,--wrap=cuda_${operation})
endforeach()
add_test(NAME bench.gpu.encoder COMMAND bench.gpu.encoder mini qkv f16 7 14 1)
set_tests_properties(bench.gpu.encoder PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}" TIMEOUT 300
    PASS_REGULAR_EXPRESSION "sm90a.*\"asked\": \"qkv\".*\"changed_alone\": 0,")
add_executable(bench.gpu.swap_test tests/bench/gpu_swap_test.c bench/gpu/swap.c)
target_link_libraries(bench.gpu.swap_test PRIVATE PkgConfig::CMOCKA)
add_test(NAME bench.gpu.swap_test COMMAND bench.gpu.swap_test)
