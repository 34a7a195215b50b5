# The core: every .c file of bridge/ but the program itself.
file(GLOB AQUEDUCT_BRIDGE CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bridge/*.c ${PROJECT_SOURCE_DIR}/bridge/lib/*.c ${PROJECT_SOURCE_DIR}/bridge/net/*.c)
list(REMOVE_ITEM AQUEDUCT_BRIDGE ${PROJECT_SOURCE_DIR}/bridge/main.c)
target_sources(aqueduct_core PRIVATE ${AQUEDUCT_BRIDGE})
