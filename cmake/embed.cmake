# cmake -D IN=file -D OUT=file.c -D NAME=symbol -P embed.cmake
# Writes IN as `const unsigned char NAME[]` and `const unsigned long NAME_len`.
file(READ ${IN} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR len "${digits} / 2")
if(len EQUAL 0)
    message(FATAL_ERROR "${IN}: empty file")
endif()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," body "${hex}")
file(WRITE ${OUT}
     "extern const unsigned char ${NAME}[];\nextern const unsigned long ${NAME}_len;\n"
     "const unsigned char ${NAME}[] = {${body}};\nconst unsigned long ${NAME}_len = ${len};\n")
