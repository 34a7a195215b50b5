# SPDX-License-Identifier: MIT
# cmake -D PROGRAM=... -D VERSION=... -D DATE=... -D ARCHIVES="a.a;b.a" -D OUT=... -P sbom.cmake
# Writes a CycloneDX 1.5 bill of materials: every library that is part of the program or loaded with it, with the package it is from.
cmake_minimum_required(VERSION 3.25)
string(TIMESTAMP when "%Y-%m-%dT%H:%M:%SZ" UTC)               # of SOURCE_DATE_EPOCH
set(namespace 6ba7b811-9dad-11d1-80b4-00c04fd430c8)             # of URLs (RFC 9562)

file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${PROGRAM} RESOLVED_DEPENDENCIES_VAR loaded UNRESOLVED_DEPENDENCIES_VAR lost)
if(lost)
  message(FATAL_ERROR "libraries that are not found: ${lost}")
endif()
execute_process(COMMAND objdump -p ${PROGRAM} OUTPUT_VARIABLE head COMMAND_ERROR_IS_FATAL ANY)
file(READ /etc/os-release os)
string(REGEX MATCH "\nID=\"?([a-z0-9._-]+)" id "\n${os}")
set(id ${CMAKE_MATCH_1})
string(REGEX MATCH "\nVERSION_ID=\"?([a-z0-9._-]+)" release "\n${os}")
set(release ${CMAKE_MATCH_1})

# The package of a file; a merged /usr is known by its old names.
function(package_of file out)
  file(REAL_PATH ${file} real)
  string(REGEX REPLACE "^/usr/" "/" other ${real})
  execute_process(COMMAND dpkg-query -S ${real} ${other} OUTPUT_VARIABLE found ERROR_QUIET RESULT_VARIABLE code)
  string(REGEX MATCH "^([^: \n]+)[^\n]*" line "${found}")
  set(name "${CMAKE_MATCH_1}")
  string(REGEX MATCH "^[^:\n]+(:[a-z0-9]+)?: " whole "${line}")
  string(REGEX REPLACE ": $" "" whole "${whole}")
  set(${out} "" PARENT_SCOPE)
  if(name)
    execute_process(COMMAND dpkg-query -W -f "\${Package};\${Version};\${Architecture}" ${whole} OUTPUT_VARIABLE facts COMMAND_ERROR_IS_FATAL ANY)
    set(${out} "${facts}" PARENT_SCOPE)
  endif()
endfunction()

set(components "[]")
set(all "")
set(direct "")
set(count 0)
list(SORT loaded)
foreach(file ${ARCHIVES} ${loaded})
  get_filename_component(name ${file} NAME)
  file(REAL_PATH ${file} real)
  file(SHA256 ${real} sum)
  package_of(${file} facts)
  if(facts)
    list(GET facts 0 package)
    list(GET facts 1 version)
    list(GET facts 2 architecture)
    string(REPLACE "+" "%2B" escaped ${version})
    string(REPLACE ":" "%3A" escaped ${escaped})
    string(REPLACE "+" "%2B" escaped_name ${package})
    set(purl "\"purl\": \"pkg:deb/${id}/${escaped_name}@${escaped}?arch=${architecture}&distro=${id}-${release}\",")
  else()
    set(package ${name})
    set(version "unknown")
    set(purl "")
  endif()
  set(linked shared)
  if(file IN_LIST ARCHIVES)
    set(linked static)
  endif()
  set(ref "${package}/${name}")
  list(APPEND all "\"${ref}\"")
  string(FIND "${head}" "NEEDED               ${name}\n" at)
  if(at GREATER -1 OR linked STREQUAL static)
    list(APPEND direct "\"${ref}\"")
  endif()
  string(JSON components SET "${components}" ${count} "{\"type\": \"library\", \"bom-ref\": \"${ref}\", \"name\": \"${package}\", \"version\": \"${version}\", ${purl}
    \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"${sum}\"}], \"properties\": [{\"name\": \"aqueduct:file\", \"value\": \"${name}\"}, {\"name\": \"aqueduct:linked\", \"value\": \"${linked}\"}]}")
  math(EXPR count "${count} + 1")
endforeach()

file(SHA256 ${PROGRAM} sum)
string(UUID serial NAMESPACE ${namespace} NAME "aqueduct ${sum} ${components}" TYPE SHA1)
list(JOIN direct ", " direct)
file(WRITE ${OUT} "{
  \"bomFormat\": \"CycloneDX\",
  \"specVersion\": \"1.5\",
  \"serialNumber\": \"urn:uuid:${serial}\",
  \"version\": 1,
  \"metadata\": {
    \"timestamp\": \"${when}\",
    \"component\": {\"type\": \"application\", \"bom-ref\": \"aqueduct\", \"name\": \"aqueduct\", \"version\": \"${VERSION}\", \"licenses\": [{\"license\": {\"id\": \"MIT\"}}],
      \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"${sum}\"}]}
  },
  \"components\": ${components},
  \"dependencies\": [{\"ref\": \"aqueduct\", \"dependsOn\": [${direct}]}]
}
")
