# What `cmake --install` gives: libweft.so.1, weft.h, weft.hpp, weft.pc, WeftConfig.cmake and `weft`.
include(CMakePackageConfigHelpers)
install(TARGETS weft EXPORT weft_targets LIBRARY)
install(FILES capi/weft.h TYPE INCLUDE)
if(EXISTS ${CMAKE_SOURCE_DIR}/capi/weft.hpp)
  install(FILES capi/weft.hpp TYPE INCLUDE)
endif()
# From weft.pc's own place, so that an installation can be moved, and `cmake --install --prefix` works.
file(RELATIVE_PATH weft_pc_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/weft.pc.in weft.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/weft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(EXPORT weft_targets NAMESPACE weft:: FILE WeftTargets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Weft)
configure_package_config_file(cmake/WeftConfig.cmake.in WeftConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Weft)
write_basic_package_version_file(WeftConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/WeftConfig.cmake ${CMAKE_BINARY_DIR}/WeftConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Weft)
# The service reads /etc/weft/weft.conf, which is the administrator's: the sample is documentation.
configure_file(capi/cli/weft.service.in weft.service @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/weft.service DESTINATION lib/systemd/system)
install(FILES capi/cli/weft.sysusers DESTINATION lib/sysusers.d RENAME weft.conf)
install(FILES capi/cli/weft.conf TYPE DOC)
