# What `cmake --install` puts where, what `cpack` makes a Debian package of, and the target `dist`: package, sources, bill of materials and sums.

# One moment for all that is written: that of the last commit; of sources without git, that of the newest file at the top (which is that commit's).
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  set(AQUEDUCT_EPOCH $ENV{SOURCE_DATE_EPOCH})
else()
  execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} log -1 --format=%ct OUTPUT_VARIABLE AQUEDUCT_EPOCH OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT AQUEDUCT_EPOCH)
    file(TIMESTAMP ${PROJECT_SOURCE_DIR}/CHANGELOG.md AQUEDUCT_EPOCH "%s" UTC)
  endif()
endif()

# ---- install ----

install(TARGETS aqueduct RUNTIME DESTINATION bin)
install(DIRECTORY schemas/ DESTINATION share/aqueduct PATTERN generate EXCLUDE)
install(FILES LICENSE RENAME copyright DESTINATION share/doc/aqueduct)
install(FILES README.md README.zh.md CHANGELOG.md DESTINATION share/doc/aqueduct)
# The guide that the README leads to, where its links look.
file(GLOB guide RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS bridge/guide/*.md connectors/recipes.md connectors/*/README.md)
foreach(page IN LISTS guide)
  cmake_path(GET page PARENT_PATH folder)
  install(FILES ${page} DESTINATION share/doc/aqueduct/${folder})
endforeach()
install(FILES bridge/deploy/bridge.yaml DESTINATION share/doc/aqueduct/examples)
# What is made of the program, or of the place that it goes to.
if(NOT CMAKE_CROSSCOMPILING)
  set(made ${PROJECT_BINARY_DIR}/installed)
  install(CODE "set(ENV{SOURCE_DATE_EPOCH} ${AQUEDUCT_EPOCH})
    file(REMOVE_RECURSE [[${made}]])
    function(say file)
      cmake_path(GET file PARENT_PATH folder)
      file(MAKE_DIRECTORY \"${made}/\${folder}\")
      execute_process(COMMAND [[$<TARGET_FILE:aqueduct>]] \${ARGN} OUTPUT_FILE \"${made}/\${file}\" COMMAND_ERROR_IS_FATAL ANY)
    endfunction()
    say(man/man1/aqueduct.1 man)
    say(bash-completion/completions/aqueduct completion bash)
    set(zsh site-functions)
    if(CMAKE_INSTALL_PREFIX STREQUAL /usr)      # Debian's
      set(zsh vendor-completions)
    endif()
    say(zsh/\${zsh}/_aqueduct completion zsh)
    say(fish/vendor_completions.d/aqueduct.fish completion fish)
    execute_process(COMMAND gzip -9nf [[${made}/man/man1/aqueduct.1]] COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND \${CMAKE_COMMAND} \"-DPROGRAM=\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/bin/aqueduct\" -D VERSION=${PROJECT_VERSION}
      \"-DARCHIVES=${AQUEDUCT_ARCHIVES}\" \"-DOUT=${made}/doc/aqueduct/sbom.cdx.json\" -P [[${PROJECT_SOURCE_DIR}/bridge/deploy/sbom.cmake]] COMMAND_ERROR_IS_FATAL ANY)
    set(PREFIX \${CMAKE_INSTALL_PREFIX})
    configure_file([[${PROJECT_SOURCE_DIR}/bridge/deploy/aqueduct.service.in]] [[${made}/aqueduct.service]] @ONLY)")
  install(DIRECTORY ${made}/man ${made}/bash-completion ${made}/zsh ${made}/fish ${made}/doc DESTINATION share)
  install(FILES ${made}/aqueduct.service DESTINATION lib/systemd/system)
endif()
install(FILES bridge/deploy/bridge.yaml DESTINATION /etc/aqueduct PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ
  COMPONENT configuration EXCLUDE_FROM_ALL)     # of a package; an installation by hand writes nothing outside its prefix

# ---- cpack ----

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME aqueduct)
set(CPACK_PACKAGE_VENDOR "The Aqueduct authors")
set(CPACK_PACKAGE_CONTACT "The Aqueduct authors <aqueduct@example.com>" CACHE STRING "who answers for a package")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "event bridge from AI applications to Kafka, webhooks and live listeners")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Rows of the databases of AnythingLLM, Open WebUI, n8n and others, and webhooks, become CloudEvents on
topics, in Kafka or in an embedded log; they are delivered as signed webhooks, live WebSocket and SSE streams, and dead letters
that can be read and redriven. An acknowledged event is never lost.")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};aqueduct;Unspecified;/;${PROJECT_BINARY_DIR};aqueduct;configuration;/")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA)
foreach(file postinst prerm postrm conffiles)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/bridge/deploy/debian/${file})
endforeach()
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_BINARY_DIR}/cpack-when.cmake)
file(WRITE ${CPACK_PROJECT_CONFIG_FILE} "set(ENV{SOURCE_DATE_EPOCH} ${AQUEDUCT_EPOCH})\n")
# Everybody reads the folders, whatever the umask of who makes the package.
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_BINARY_DIR}/cpack-folders.cmake)
file(WRITE ${CPACK_PRE_BUILD_SCRIPTS} "execute_process(COMMAND find \${CPACK_TEMPORARY_INSTALL_DIRECTORY} -type d -exec chmod 0755 {} + COMMAND_ERROR_IS_FATAL ANY)\n")
include(CPack)

# ---- a release ----

set(dist ${PROJECT_BINARY_DIR}/dist)
set(sources aqueduct-${PROJECT_VERSION})
add_custom_target(dist COMMENT "a release in ${dist}" VERBATIM DEPENDS aqueduct
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${dist}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${dist}
  COMMAND sh -c "umask 022 && exec \"$@\"" sh ${CMAKE_CPACK_COMMAND} --config ${PROJECT_BINARY_DIR}/CPackConfig.cmake -B ${dist}
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${dist}/_CPack_Packages
  COMMAND ${CMAKE_COMMAND} -E copy ${PROJECT_BINARY_DIR}/installed/doc/aqueduct/sbom.cdx.json ${dist}/${sources}.cdx.json
  COMMAND sh -c "git -C \"$1\" archive --format=tar --prefix=$2/ --output=\"$3/$2.tar\" HEAD && cd \"$3\" && gzip -9n $2.tar && sha256sum *.* >SHA256SUMS"
    sh ${PROJECT_SOURCE_DIR} ${sources} ${dist})
