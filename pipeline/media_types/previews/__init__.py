"""Previews of content. Each module has a `render` that runs in the sandbox and returns the fields of Rendered.

`render(file, name=…, limits=…)` returns `webp` (base64), `width`, `height` and `thumbhash` of an image, or `peaks` of a
sound, or nothing if there is nothing to show.
"""
