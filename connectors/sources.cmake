# One line per connector.
target_sources(aqueduct_core PRIVATE ${PROJECT_SOURCE_DIR}/connectors/connectors.c)
foreach(connector sqlite http webhook websocket dead_letter)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/connectors/${connector}/*.c)
  target_sources(aqueduct_core PRIVATE ${files})
endforeach()

# The page of a listener is part of the program.
set(client ${PROJECT_SOURCE_DIR}/connectors/websocket/client)
embed(page_texts page_text connectors/websocket/page.h FALSE ${client}/page.html ${client}/page.css ${client}/page.js ${client}/aqueduct.js)
