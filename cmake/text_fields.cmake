# cmake -D IN=a.proto -D OUT=b.proto -P text_fields.cmake
# Writes a copy of IN in which every `string` field is `bytes`. Refuses a file that has a `bytes`
# field or a map: then a reader could no longer tell text from bytes.
file(READ ${IN} text)
string(REGEX REPLACE "//[^\n]*" "" bare "${text}")
if(bare MATCHES "(^|[^a-zA-Z0-9_.])bytes[ \t]+[a-z_]+[ \t\n]*=")
    message(FATAL_ERROR "${IN}: a bytes field would be taken for text")
endif()
if(bare MATCHES "(^|[^a-zA-Z0-9_.])map[ \t]*<")
    message(FATAL_ERROR "${IN}: a map cannot be turned into bytes")
endif()
string(REGEX REPLACE "(\n[ \t]*(repeated[ \t]+)?)string([ \t]+[a-zA-Z0-9_]+[ \t]*=[ \t]*[0-9]+)"
       "\\1bytes\\3" text "${text}")
string(REGEX REPLACE "//[^\n]*" "" bare "${text}")
if(bare MATCHES "(^|[^a-zA-Z0-9_.])string[ \t\n]")
    message(FATAL_ERROR "${IN}: a string field is written in a form this script does not know")
endif()
file(WRITE ${OUT} "${text}")
