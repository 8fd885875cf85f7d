"""The HTML page on one run or several.

- what it is made from: `records`, `journal` (run folders), `methods` (runs that differ in their seed only);
- what it says, as plain data: `words`, `tables`, `forest`, `sizes`, `converging`, `cautions`, `explained`, `settings`;
- charts: `drawing`, `figures`, `distributions`;
- pictures of cases: `pictures`, `panels`, `slices`, `error_surface`, `surface_picture`, `viewer`;
- `page` puts all into `template/`.
"""
