# Flags that every target of this project shares.
function(weft_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Werror)
endfunction()

# A C program is linked by the C++ compiler where a sanitizer is on: the library then wants the sanitizer's C++ runtime.
function(weft_c_program target)
  if(WEFT_SANITIZE)
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  endif()
endfunction()

if(WEFT_SANITIZE)
  add_compile_options(-fsanitize=${WEFT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WEFT_SANITIZE})
  if(WEFT_SANITIZE MATCHES address)
    # The fuzzers (tests/fuzz) are linked with these very objects: counters that a program without a fuzzer never reads.
    add_compile_options(-fsanitize-coverage=inline-8bit-counters,pc-table)
  elseif(WEFT_SANITIZE MATCHES fuzzer)
    # A quarter of the time went to calls that watch each comparison; structured inputs find little by them.
    add_compile_options(-fno-sanitize-coverage=trace-cmp)
  endif()
endif()
# Nothing that is built knows where the tree lies; so a second clone finds the first one's objects in the compiler cache.
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
find_program(WEFT_CCACHE ccache)
if(WEFT_CCACHE)
  set(ccache_here ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${WEFT_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${ccache_here})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ccache_here})
endif()
