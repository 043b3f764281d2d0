"""Small pictures of every kind and what Pillow's convert("L") makes of them.

Run in this folder; writes grey/*.png, grey/*.jpeg and grey.txt (one picture a line: name, rows x columns, grey values).
"""
import numpy as np
import PIL
from PIL import Image

rng = np.random.default_rng(3)
lines = []


def keep(name, image, **options):
    image.save(f"grey/{name}", "PNG" if name.endswith("png") else "JPEG", **options)
    with Image.open(f"grey/{name}") as read:
        grey = np.asarray(read.convert("L"))
    lines.append(f"{name} {grey.shape[0]}x{grey.shape[1]} " + ",".join(str(v) for v in grey.ravel()))


rgb = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
grey8 = rng.integers(0, 256, (6, 7), dtype=np.uint8)
alpha = rng.integers(0, 256, (6, 7, 1), dtype=np.uint8)
keep("l8.png", Image.fromarray(grey8))
keep("la8.png", Image.fromarray(np.dstack([grey8, alpha]), "LA"))
keep("rgb8.png", Image.fromarray(rgb))
keep("rgba8.png", Image.fromarray(np.dstack([rgb, alpha])))
keep("palette.png", Image.fromarray(rgb).quantize(16))
keep("palette_transparent.png", Image.fromarray(rgb).quantize(16), transparency=3)
keep("bilevel.png", Image.fromarray(grey8).convert("1"))
keep("l16.png", Image.fromarray(np.array([[0, 1, 127, 254, 255, 256, 257, 300, 32768, 65535]], np.uint16)))
x, y = np.meshgrid(np.arange(24), np.arange(16))
smooth = np.dstack([x * 10, y * 15, (x + y) * 6]).astype(np.uint8)
keep("grey.jpeg", Image.fromarray(smooth[..., 0]), quality=92)
keep("color_444.jpeg", Image.fromarray(smooth), quality=92, subsampling=0)
keep("color_420.jpeg", Image.fromarray(smooth), quality=92)
keep("progressive.jpeg", Image.fromarray(smooth[..., 2]), quality=92, progressive=True)
# Odd sizes, so that blocks are cut and chroma is enlarged past its edge; noise, where decoders' rounding differs most.
noise = rng.integers(0, 256, (19, 37, 3), dtype=np.uint8)
keep("noise.jpeg", Image.fromarray(noise[..., 0]), quality=75)
keep("noise_444.jpeg", Image.fromarray(noise), quality=75, subsampling=0)
keep("noise_422.jpeg", Image.fromarray(noise), quality=75, subsampling=1)
keep("noise_420.jpeg", Image.fromarray(noise), quality=75, subsampling=2)
keep("noise_420_progressive.jpeg", Image.fromarray(noise), quality=60, subsampling=2, progressive=True)
keep("noise_restart.jpeg", Image.fromarray(noise), quality=50, restart_marker_blocks=2)
keep("cmyk.jpeg", Image.fromarray(noise).convert("CMYK"), quality=75)
with open("grey.txt", "w") as out:
    out.write(f"# Pillow {PIL.__version__}, numpy {np.__version__}\n" + "\n".join(lines) + "\n")
