//! A program's P4Info, checked and by name: ids, widths and references for what writes and reads entities.
