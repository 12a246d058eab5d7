# What `cmake --install` gives, in three components that are also the three Debian packages (package.cmake): the library; what
# programs are built with (weft.h, weft.hpp, weft.pc, WeftConfig.cmake); the tools (`weft` and its service).
include(CMakePackageConfigHelpers)
install(TARGETS weft EXPORT weft_targets LIBRARY COMPONENT library NAMELINK_COMPONENT development)
install(FILES capi/weft.h capi/weft.hpp TYPE INCLUDE COMPONENT development)
# From weft.pc's own place, so that an installation can be moved, and `cmake --install --prefix` works.
file(RELATIVE_PATH weft_pc_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/weft.pc.in weft.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/weft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
set(weft_config_to ${CMAKE_INSTALL_LIBDIR}/cmake/Weft)
install(EXPORT weft_targets NAMESPACE weft:: FILE WeftTargets.cmake DESTINATION ${weft_config_to} COMPONENT development)
configure_package_config_file(cmake/WeftConfig.cmake.in WeftConfig.cmake INSTALL_DESTINATION ${weft_config_to})
write_basic_package_version_file(WeftConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/WeftConfig.cmake ${CMAKE_BINARY_DIR}/WeftConfigVersion.cmake
        DESTINATION ${weft_config_to} COMPONENT development)
# The service reads /etc/weft/weft.conf, which is the administrator's: the sample is documentation.
configure_file(capi/cli/weft.service.in weft.service @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/weft.service DESTINATION lib/systemd/system COMPONENT tools)
install(FILES capi/cli/weft.sysusers DESTINATION lib/sysusers.d RENAME weft.conf COMPONENT tools)
install(FILES capi/cli/weft.conf TYPE DOC COMPONENT tools)
