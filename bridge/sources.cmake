# The core: every .c file of bridge/ but the program itself.
file(GLOB_RECURSE AQUEDUCT_BRIDGE CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bridge/*.c)
list(REMOVE_ITEM AQUEDUCT_BRIDGE ${PROJECT_SOURCE_DIR}/bridge/main.c)
target_sources(aqueduct_core PRIVATE ${AQUEDUCT_BRIDGE})

# Files become part of the program, so that one binary is enough: a table `rows` of `struct <type>` { name, text }, of
# which `header` tells; `name` is the path below schemas/, without `.yaml` when `plain` is set.
function(embed rows type header plain)
  set(arrays "")
  set(entries "")
  foreach(file ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/schemas ${file})
    string(MAKE_C_IDENTIFIER ${rows}_${name} id)
    if(plain)
      string(REGEX REPLACE "\\.yaml$" "" name ${name})
    endif()
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const char ${id}[] = {${bytes}0};\n")
    string(APPEND entries "    {\"${name}\", {${id}, sizeof ${id} - 1}},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/${rows}.c @ONLY CONTENT
"/* Generated from schemas/ by bridge/sources.cmake. */
#include \"@header@\"
@arrays@
const struct @type@ @rows@[] = {
@entries@    {0, {0, 0}},
};
")
  target_sources(aqueduct_core PRIVATE ${PROJECT_BINARY_DIR}/generated/${rows}.c)
endfunction()

set(schemas ${PROJECT_SOURCE_DIR}/schemas)
file(GLOB files CONFIGURE_DEPENDS ${schemas}/presets/*.yaml ${schemas}/inbound/*.yaml ${schemas}/receivers/*.yaml)
embed(preset_texts preset_text bridge/config/preset.h TRUE ${files})
file(GLOB files CONFIGURE_DEPENDS ${schemas}/events/*.schema.json ${schemas}/examples/*/*.json)
embed(schema_texts schema_text bridge/cli/schemas.h FALSE ${files} ${schemas}/vocabulary.schema.json ${schemas}/asyncapi.yaml)

# The schema of events as columns, as it is registered.
embed(columns_texts columns_text bridge/event/columns.h FALSE ${schemas}/event.avsc)

# The console is part of the program.
file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bridge/admin/console/*.*)
embed(console_texts console_text bridge/admin/console.h FALSE ${files})
