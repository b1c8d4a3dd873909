# cmake -D SCRIPT=text_fields.cmake -D WORK=folder -P text_fields_test.cmake
# The script turns strings into bytes, and refuses what it cannot tell apart afterwards.
file(MAKE_DIRECTORY ${WORK})
set(head "syntax = \"proto3\";\n")

function(run_script name text expected_code)
    file(WRITE ${WORK}/${name}.proto "${head}${text}")
    file(REMOVE ${WORK}/${name}.out)
    execute_process(COMMAND ${CMAKE_COMMAND} -D IN=${WORK}/${name}.proto -D OUT=${WORK}/${name}.out
                            -P ${SCRIPT} RESULT_VARIABLE code ERROR_VARIABLE error)
    if((code EQUAL 0) AND NOT expected_code)
        message("not ok ${name}: was accepted")
        message(FATAL_ERROR "${name}")
    elseif((NOT code EQUAL 0) AND expected_code)
        message("not ok ${name}: ${error}")
        message(FATAL_ERROR "${name}")
    endif()
    message("ok text_fields_${name}")
endfunction()

run_script(turns_strings_into_bytes
           "message M {\n  // A string of bytes; kept as it is.\n  string a = 1;\n  repeated string b = 2;\n  uint32 string_count = 3;\n}\n"
           TRUE)
file(READ ${WORK}/turns_strings_into_bytes.out out)
foreach(line "  bytes a = 1" "  repeated bytes b = 2" "  uint32 string_count = 3"
        "// A string of bytes")
    string(FIND "${out}" "${line}" at)
    if(at EQUAL -1)
        message("not ok text_fields_writes: no \"${line}\"")
        message(FATAL_ERROR "${out}")
    endif()
endforeach()
run_script(refuses_a_bytes_field "message M {\n  bytes raw = 1;\n}\n" FALSE)
run_script(refuses_a_map "message M {\n  map<string, string> m = 1;\n}\n" FALSE)
run_script(refuses_a_form_it_does_not_know "message M { string a = 1; }\n" FALSE)
