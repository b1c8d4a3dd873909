# tests/<path>/<name>_test.c is one cmocka program, linked with the layer that <path> mirrors.
# <name>_long_test.c runs under `make test-long` only. Fuzz targets are tests/fuzz/fuzz_<name>.c.

set(PITH_TEST_ENV "PITH_SHARED=${PITH_SHARED};PITH_SOURCE=${CMAKE_SOURCE_DIR}"
    "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1"
    "UBSAN_OPTIONS=print_stacktrace=1" "TSAN_OPTIONS=halt_on_error=1:suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp"
    "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp")

set(PITH_TEST_LAYERS
    "tests/runtime/base=pith_base" "tests/runtime/text=pith_text"
    "tests/runtime/weights=pith_weights" "tests/runtime/backend=pith_backend"
    "tests/runtime/model=pith_model,pith_backend,pith_text" "tests/runtime/decide=pith_decide"
    "tests/runtime/engine=pith_engine" "tests/sim=pith_engine" "tests/kernels=pith_kernels,pith_base"
    "tests/server=pith_server" "tests/cli=pith_cli" "tests/models=pith_recipe_parts")

file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.c)
if(support)
    add_library(pith_test_support STATIC ${support})
    target_link_libraries(pith_test_support PUBLIC pith_base pith_weights PkgConfig::CMOCKA m)
endif()

# test_parts(OUT SOURCE LINKS...): objects of what a test brings along (/* with: tests/PATH.c */), each
# compiled once, in an object library PATH.
function(test_parts out source)
    file(STRINGS ${source} lines REGEX "^/\\* with: .* \\*/$")
    set(parts)
    foreach(line ${lines})
        string(REGEX REPLACE "^/\\* with: tests/(.*)\\.c \\*/$" "\\1" path ${line})
        string(REPLACE "/" "." name ${path})
        if(NOT TARGET ${name})
            add_library(${name} OBJECT ${CMAKE_SOURCE_DIR}/tests/${path}.c)
            target_compile_options(${name} PRIVATE -Wno-unused-parameter)
            target_link_libraries(${name} PRIVATE ${ARGN} PkgConfig::CMOCKA)
        endif()
        list(APPEND parts $<TARGET_OBJECTS:${name}>)
    endforeach()
    set(${out} ${parts} PARENT_SCOPE)
endfunction()

foreach(entry ${PITH_TEST_LAYERS})
    string(REPLACE "=" ";" pair ${entry})
    list(GET pair 0 dir)
    list(GET pair 1 layers)
    string(REPLACE "," ";" layers ${layers})
    list(GET layers 0 first)
    if(NOT TARGET ${first})
        continue()
    endif()
    file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*_test.c)
    list(FILTER tests EXCLUDE REGEX "/backend/cuda/") # cmake/cuda_emulated.cmake
    foreach(source ${tests})
        file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR}/tests ${source})
        string(REGEX REPLACE "\\.c$" "" name ${name})
        string(REPLACE "/" "." target ${name})
        test_parts(parts ${source} ${layers})
        add_executable(${target} ${source} ${parts})
        # A test may put itself before functions that the code under test calls: /* wrap: malloc */
        file(STRINGS ${source} wraps REGEX "^/\\* wrap: .* \\*/$")
        foreach(line ${wraps})
            string(REGEX REPLACE "^/\\* wrap: (.*) \\*/$" "\\1" names ${line})
            string(REPLACE " " ";" names ${names})
            foreach(function ${names})
                target_link_options(${target} PRIVATE -Wl,--wrap=${function})
            endforeach()
        endforeach()
        target_compile_options(${target} PRIVATE -Wno-unused-parameter)
        target_link_libraries(${target} PRIVATE ${layers} PkgConfig::CMOCKA m)
        if(TARGET pith_test_support)
            target_link_libraries(${target} PRIVATE pith_test_support)
        endif()
        add_test(NAME ${target} COMMAND ${target})
        set_tests_properties(${target} PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}" TIMEOUT 300)
        if(name MATCHES "_long_test$")
            set_tests_properties(${target} PROPERTIES LABELS long)
        endif()
    endforeach()
endforeach()

set(PITH_FUZZ_LINKS pith_text pith_weights)
if(TARGET pith_server)
    list(APPEND PITH_FUZZ_LINKS pith_server pith_cli)
endif()
file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(source ${fuzzers})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE ${PITH_FUZZ_LINKS})
    target_compile_options(${name} PRIVATE -Wno-missing-prototypes)
    if(PITH_FUZZ)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    else()
        # Without libFuzzer the target replays its corpus: every past finding stays found.
        target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/standalone.c)
        string(REGEX REPLACE "^fuzz_" "" corpus ${name})
        add_test(NAME fuzz.${corpus}.corpus
                 COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${corpus})
        set_tests_properties(fuzz.${corpus}.corpus PROPERTIES ENVIRONMENT "${PITH_TEST_ENV}")
    endif()
endforeach()
