"""A minimal example: samples the three included models and writes a labelled grid. Needs no GPU and no internet."""

from PIL import Image

from sngan_hub import labelled_grid, load_discriminator, load_generator, save_png

grids = []
names = "sngan_cifar10_small", "sngan_avatars32", "sngan_fashion32"
for name in names:
    generator = load_generator(name)
    images = generator.sample(classes=generator.classes, n=8, seed=0)  # uint8 (80, 3, 32, 32), class-major
    grids.append(labelled_grid(images, columns=8, row_labels=generator.classes))

    discriminator = load_discriminator(name)
    labels = images.new_tensor([i // 8 for i in range(80)]).long()
    scores = discriminator(images.float() / 127.5 - 1, labels)  # (80, 1): higher is more real, and more of its class
    print(f"{name}: ten classes, eight each; mean score of its discriminator {scores.mean():.2f}")

picture = Image.new("RGB", (sum(grid.width for grid in grids), grids[0].height), "white")
for i, grid in enumerate(grids):
    picture.paste(grid, (sum(before.width for before in grids[:i]), 0))
save_png(picture, "samples.png", {"model": ", ".join(names), "seed": 0})
print("samples.png: written")
