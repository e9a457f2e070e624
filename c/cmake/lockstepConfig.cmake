include("${CMAKE_CURRENT_LIST_DIR}/lockstepTargets.cmake")
if(NOT TARGET lockstep::lockstep)
  add_library(lockstep::lockstep ALIAS lockstep::lockstep_static)
endif()
