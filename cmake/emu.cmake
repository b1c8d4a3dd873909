# kernels/emu: the CUDA kernels compiled as host C++ and run without a GPU. One program holds all of
# its tests; it is built four times, because each build sees what the others cannot:
#   plain  many schedules, NaN-filled memory, late copies
#   clang  variables that a kernel never set are NaN (where there is a clang++)
#   race   happens-before checking: kernels are compiled with -fsanitize=thread, and the program is
#          linked without it, so that kernels/emu/hooks.cc receives the calls
#   asan   bounds of shared and global memory, alignment, overflow
# Options are set on each target and replace the directory's, whatever PITH_SANITIZE is.

if(PITH_FUZZ OR PITH_SANITIZE STREQUAL "thread")
    return()
endif()
include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
    message(STATUS "No C++ compiler: the CUDA kernels are not emulated")
    return()
endif()
enable_language(CXX)

file(GLOB emu_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/emu/*.cc)
# The oracles, and what prepares a kernel's input on the host.
file(GLOB emu_oracles CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/ref/*.c
     ${CMAKE_SOURCE_DIR}/kernels/cuda/*.c)
# Kernels and their tests, where a GPU is not needed: every .cu of the tree.
file(GLOB emu_kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu
     ${CMAKE_SOURCE_DIR}/tests/kernels/emu/*.cu)
set_source_files_properties(${emu_kernels} PROPERTIES LANGUAGE CXX)

set(emu_flags -g -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Werror -fno-strict-aliasing
    -ffp-contract=off)
# -O0 and the checks that a kernel can trip: a quarter of the compile time of -O1 with all of UBSan.
set(emu_asan -O0 -fsanitize=address,alignment,bounds,signed-integer-overflow,shift
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)

# emu_objects(NAME SOURCES... FLAGS...)
function(emu_objects name)
    cmake_parse_arguments(ARG "" "" "SOURCES;FLAGS" ${ARGN})
    add_library(${name} OBJECT ${ARG_SOURCES})
    set_target_properties(${name} PROPERTIES COMPILE_OPTIONS "${emu_flags};${ARG_FLAGS}"
                          CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
endfunction()

# emu_library(NAME FLAGS): the emulator and the oracle, compiled with FLAGS.
function(emu_library name flags)
    emu_objects(${name} SOURCES ${emu_sources} FLAGS ${flags})
    add_library(${name}_ref OBJECT ${emu_oracles})
    set_target_properties(${name}_ref PROPERTIES COMPILE_OPTIONS "-O2;-ffp-contract=off")
endfunction()

# emu_program(MODE LIBRARY KERNEL_FLAGS LINK_FLAGS): kernels.emu.MODE
function(emu_program mode library kernel_flags link_flags)
    set(program kernels.emu.${mode})
    emu_objects(${program}.kernels SOURCES ${emu_kernels} FLAGS -DPK_EMULATE
                -Wno-unknown-pragmas ${kernel_flags})
    add_executable(${program} $<TARGET_OBJECTS:${library}> $<TARGET_OBJECTS:${library}_ref>
                   $<TARGET_OBJECTS:${program}.kernels>)
    set_target_properties(${program} PROPERTIES LINKER_LANGUAGE CXX LINK_OPTIONS "${link_flags}")
    target_link_libraries(${program} PRIVATE ${CMAKE_DL_LIBS} m)
    add_test(NAME ${program} COMMAND ${program})
    set_tests_properties(${program} PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}" TIMEOUT 300)
endfunction()

emu_library(pith_emu "-O2")
emu_library(pith_emu_asan "-O1;-fsanitize=address;-fno-omit-frame-pointer")
emu_program(plain pith_emu "-O2" "")
# The longest texts: minutes, so with the long tests only.
add_test(NAME kernels.emu.plain.long COMMAND kernels.emu.plain --long)
set_tests_properties(kernels.emu.plain.long PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}" LABELS long
                     TIMEOUT 1800)
emu_program(race pith_emu "-O1;-fsanitize=thread" "")
emu_program(asan pith_emu_asan "${emu_asan}" "-fsanitize=address,undefined")

# clang's pattern for a float is a NaN; gcc's is a finite number that a product with 0 hides.
find_program(PITH_CLANGXX NAMES clang++ clang++-19 clang++-16 clang++-14)
if(PITH_CLANGXX)
    set(pattern_objects)
    foreach(source ${emu_kernels})
        get_filename_component(name ${source} NAME_WE)
        set(object ${CMAKE_BINARY_DIR}/emu_clang/${name}.o)
        add_custom_command(
            OUTPUT ${object}
            COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/emu_clang
            COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${PITH_CLANGXX} -std=c++17 -O2 -g1 -w
                    -ftrivial-auto-var-init=pattern -fno-strict-aliasing -ffp-contract=off
                    -DPK_EMULATE -DPK_EMU_PATTERN -I${CMAKE_SOURCE_DIR} -MD -MF ${object}.d
                    -c -x c++ ${source} -o ${object}
            DEPENDS ${source} DEPFILE ${object}.d COMMENT "clang++ ${name}.cu" VERBATIM)
        list(APPEND pattern_objects ${object})
    endforeach()
    set_source_files_properties(${pattern_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    add_executable(kernels.emu.clang $<TARGET_OBJECTS:pith_emu> $<TARGET_OBJECTS:pith_emu_ref>
                   ${pattern_objects})
    set_target_properties(kernels.emu.clang PROPERTIES LINKER_LANGUAGE CXX LINK_OPTIONS "")
    target_link_libraries(kernels.emu.clang PRIVATE ${CMAKE_DL_LIBS} m)
    add_test(NAME kernels.emu.clang COMMAND kernels.emu.clang)
    set_tests_properties(kernels.emu.clang PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}" TIMEOUT 300)
else()
    add_test(NAME kernels.emu.clang COMMAND ${CMAKE_COMMAND} -E echo
             "skip kernels.emu.clang (no clang++)")
endif()

# emu_plan(OUT BUILD LIBRARY FLAGS LINK): one build of the program, as the scripts below relink it.
function(emu_plan out build library flags link)
    set(list "\", \"")
    string(REPLACE ";" "${list}" flags "${flags}")
    set(${out} "\"${build}\": {\"flags\": [\"${flags}\"], \"link\": [${link}], \"objects\": [\"$<JOIN:$<TARGET_OBJECTS:${library}>,${list}>${list}$<JOIN:$<TARGET_OBJECTS:${library}_ref>,${list}>${list}$<JOIN:$<TARGET_OBJECTS:kernels.emu.${build}.kernels>,${list}>\"]}"
        PARENT_SCOPE)
endfunction()

# Planted faults in kernels, each compiled and run: some minutes, so with the long tests only.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND)
    emu_plan(plan_plain plain pith_emu "-O2" "")
    emu_plan(plan_race race pith_emu "-O1;-fsanitize=thread" "")
    emu_plan(plan_asan asan pith_emu_asan "${emu_asan}" "\"-fsanitize=address,undefined\"")
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/emu_mutants.json CONTENT
"{\"source\": \"${CMAKE_SOURCE_DIR}\", \"compiler\": \"${CMAKE_CXX_COMPILER}\",
 ${plan_plain},
 ${plan_race},
 ${plan_asan}}
")
    add_test(NAME kernels.emu.mutants
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/kernels/emu/mutants.py
                     ${CMAKE_BINARY_DIR}/emu_mutants.json)
    # A draw of all others, of each source so many: mutate.py says which lived, survivors.txt why.
    add_test(NAME kernels.emu.mutate
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/kernels/emu/mutate.py
                     ${CMAKE_BINARY_DIR}/emu_mutants.json --each 4 --seed 1 --seconds 2400)
    set_tests_properties(kernels.emu.mutants kernels.emu.mutate PROPERTIES LABELS long TIMEOUT 3600)
endif()
