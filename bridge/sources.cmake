# The core: every .c file of bridge/ but the program itself.
file(GLOB_RECURSE AQUEDUCT_BRIDGE CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bridge/*.c)
list(REMOVE_ITEM AQUEDUCT_BRIDGE ${PROJECT_SOURCE_DIR}/bridge/main.c)
target_sources(aqueduct_core PRIVATE ${AQUEDUCT_BRIDGE})

# The presets become part of the program, so that one binary is enough.
file(GLOB presets CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/schemas/presets/*.yaml)
set(preset_arrays "")
set(preset_rows "")
foreach(file ${presets})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  get_filename_component(name ${file} NAME_WE)
  string(MAKE_C_IDENTIFIER ${name} id)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND preset_arrays "static const char preset_${id}[] = {${bytes}0};\n")
  string(APPEND preset_rows "    {\"${name}\", {preset_${id}, sizeof preset_${id} - 1}},\n")
endforeach()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/presets.c @ONLY CONTENT
"/* Generated from schemas/presets/ by bridge/sources.cmake. */
#include \"bridge/config/preset.h\"
@preset_arrays@
const struct preset_text preset_texts[] = {
@preset_rows@    {0, {0, 0}},
};
")
target_sources(aqueduct_core PRIVATE ${PROJECT_BINARY_DIR}/generated/presets.c)
