"""The stream core: which offset may be committed, what may start next. It knows neither Faust nor SQL nor clocks."""
