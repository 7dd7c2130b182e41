// Package browsertest runs the pages in Chromium: the main story by keyboard
// alone, every page against axe-core in light and dark, narrow screens and large
// text. Its tests run where WEFT_BROWSER is set, as `.ci/run browser` does; they
// keep pictures in WEFT_SHOTS, and find axe-core by WEFT_AXE.
package browsertest
