# Writes a C++ file that holds the page's fixed parts. Called while building:
#   cmake -DVIEWER=reports/viewer -DOUTPUT=viewer_assets.cpp -P embed_viewer.cmake
function(embed function_name)
  set(text "")
  foreach(name IN LISTS ARGN)
    file(READ "${VIEWER}/${name}" part)
    # Compilers limit the length of one literal, so each file is one; neighbours are joined.
    string(APPEND text "\n    R\"viewer(${part})viewer\"")
  endforeach()
  file(APPEND "${OUTPUT}.partial" "std::string_view ${function_name}() {\n  return${text};\n}\n")
endfunction()

file(WRITE "${OUTPUT}.partial" "// Made from reports/viewer by embed_viewer.cmake.\n#include \"analysis/viewer_assets.hpp\"\n\nnamespace bubblescope {\n\n")
embed(viewer_template page.html)
embed(viewer_style page.css)
embed(viewer_script format.js data.js drawing.js timeline.js charts.js page.js)
file(APPEND "${OUTPUT}.partial" "\n}  // namespace bubblescope\n")
file(RENAME "${OUTPUT}.partial" "${OUTPUT}")
