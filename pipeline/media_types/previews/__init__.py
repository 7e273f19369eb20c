"""Previews of content: each module has a `render` that runs in the sandbox and returns the fields of Rendered.

`render(path, name=…, limits=…)` is called as the checks of the media types are. It returns `webp` (base64), `width`,
`height` and `thumbhash` of a picture, or `peaks` of a sound, or nothing at all if there is nothing to show.
"""
