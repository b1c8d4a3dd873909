# What the server's tests need beside tests/server/**_test.c: a pithd with a scripted engine, the
# end-to-end scripts that run against it, and the test of the text-field script.
if(TARGET pith_server)
    add_executable(fake_pithd tests/server/fake_pithd.c tests/server/fake_engine.c)
    target_link_libraries(fake_pithd PRIVATE pith_server)

    # The core is not instrumented for ThreadSanitizer: see the file.
    set(server_env ${PITH_TEST_ENV})
    list(FILTER server_env EXCLUDE REGEX "^TSAN_OPTIONS=")
    list(APPEND server_env
         "TSAN_OPTIONS=halt_on_error=1:suppressions=${CMAKE_SOURCE_DIR}/tests/server/tsan.supp")
    foreach(test server.grpc.server_test server.grpc.accept_test)
        if(TARGET ${test})
            set_tests_properties(${test} PROPERTIES ENVIRONMENT "${server_env}")
        endif()
    endforeach()

    # The first Python that has grpcio: the one named by PITH_TEST_PYTHON, the user's, Debian's.
    set(PITH_TEST_PYTHON "" CACHE FILEPATH "Python with grpc and google.protobuf, for tests")
    foreach(candidate ${PITH_TEST_PYTHON} python3 /usr/bin/python3)
        execute_process(COMMAND ${candidate} -c "import grpc, google.protobuf"
                        RESULT_VARIABLE code OUTPUT_QUIET ERROR_QUIET)
        if(code EQUAL 0)
            set(server_python ${candidate})
            break()
        endif()
    endforeach()
    if(NOT server_python)
        set(server_python python3) # the scripts say what is missing and are skipped by name
    endif()
    file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/*_test.py)
    foreach(script ${scripts})
        get_filename_component(name ${script} NAME_WE)
        add_test(NAME server.e2e.${name}
                 COMMAND ${server_python} ${script} --pithd $<TARGET_FILE:fake_pithd> --fake
                         --protoset ${CMAKE_BINARY_DIR}/gen/pith.protoset)
        set_tests_properties(server.e2e.${name} PROPERTIES ENVIRONMENT "${server_env}"
                             TIMEOUT 240 SKIP_RETURN_CODE 77)
    endforeach()

    if(TARGET pithd_emulated)
        add_test(NAME server.e2e.device_lost
                 COMMAND ${server_python} ${CMAKE_SOURCE_DIR}/tests/e2e/device_lost.py
                         --pithd $<TARGET_FILE:pithd_emulated> --addr none
                         --protoset ${CMAKE_BINARY_DIR}/gen/pith.protoset)
        set_tests_properties(server.e2e.device_lost PROPERTIES
                             ENVIRONMENT "${server_env};PITH_TINY_MODEL_MAKER=$<TARGET_FILE:make_tiny_model>"
                             TIMEOUT 300 SKIP_RETURN_CODE 77)
    endif()

    # The same faults in the numbers of a bad day.
    add_test(NAME server.e2e.faults_long
             COMMAND ${server_python} ${CMAKE_SOURCE_DIR}/tests/e2e/faults_test.py
                     --pithd $<TARGET_FILE:fake_pithd> --fake
                     --protoset ${CMAKE_BINARY_DIR}/gen/pith.protoset)
    set_tests_properties(server.e2e.faults_long PROPERTIES ENVIRONMENT "${server_env};PITH_LONG=1"
                         TIMEOUT 1800 SKIP_RETURN_CODE 77 LABELS long)

    add_test(NAME server.text_fields
             COMMAND ${CMAKE_COMMAND} -D SCRIPT=${CMAKE_SOURCE_DIR}/cmake/text_fields.cmake
                     -D WORK=${CMAKE_BINARY_DIR}/text_fields
                     -P ${CMAKE_SOURCE_DIR}/tests/server/text_fields_test.cmake)
endif()
