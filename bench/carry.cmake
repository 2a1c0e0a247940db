# What another machine needs to run this build, in one small folder; LibTorch and CUDA are there already:
#   cmake --install build/cuda --component carry --strip --prefix FOLDER
# lays out the programs and the CUDA tests, in lib/ the shared libraries that are neither LibTorch's nor CUDA's nor the C library,
# and the scenarios of `bubblescope campaign`. The module that speaks MPI comes along; MPI itself is the other machine's.
set(carried bubblescope)
foreach(program bubblescope-torch bubblescope-cuda cuda-tests)
  if(TARGET ${program})
    list(APPEND carried ${program})
  endif()
endforeach()
set_target_properties(${carried} PROPERTIES INSTALL_RPATH "$ORIGIN/lib")
install(TARGETS ${carried} RUNTIME_DEPENDENCY_SET carried_libraries RUNTIME DESTINATION . COMPONENT carry)
# The dynamic loader and the C library belong to the other machine, and so does CUDA's driver.
install(RUNTIME_DEPENDENCY_SET carried_libraries
  PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|util|resolv)\\.so" "^lib(torch|c10|shm|gomp|nv|nccl)" "^libcu(blas|da|dnn|f|pti|rand|s)"
  POST_EXCLUDE_REGEXES "/torch/lib/" "/nvidia/"
  LIBRARY DESTINATION lib COMPONENT carry)
# A library lies there twice, by its version and as a link by the name that programs ask for: the latter is enough, and a file.
install(CODE [[
  file(GLOB libraries "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/lib/*")
  foreach(link IN LISTS libraries)
    if(IS_SYMLINK "${link}")
      file(REAL_PATH "${link}" library)
      file(RENAME "${library}" "${link}")
    endif()
  endforeach()]] COMPONENT carry)
if(TARGET bubblescope-mpi)
  set_target_properties(bubblescope-mpi PROPERTIES INSTALL_RPATH "$ORIGIN/lib")
  install(TARGETS bubblescope-mpi LIBRARY DESTINATION . COMPONENT carry)
endif()
install(DIRECTORY scenarios/h200 DESTINATION scenarios COMPONENT carry)
