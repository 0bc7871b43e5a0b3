"use strict";
// The pictures of the offline page: in the page itself, or, of a long list, in a folder beside it, where each lies in a
// script: a page that was opened as a file is given no pixels of an image beside it, but may run such a script.

class EmbeddedPictures {
  thumbnail(image) {
    return this.picture(image);
  }

  picture({ key }) {
    return dataAddress("image/jpeg", byId(`picture-${key}`)?.textContent);
  }

  map({ key }) {
    return dataAddress("image/png", byId(`map-${key}`)?.textContent);
  }
}

const MOST_KEPT = 200; // pictures, about 70 kB each
const AT_ONCE = 4;
const MOST_WAITING = 100; // more rows than any window shows

class PicturesBeside {
  // `folder` is an address relative to the page.
  constructor(folder) {
    this.folder = folder;
    this.kept = new Map(); // promises by key, the one that was asked for last at the end
    this.waiting = []; // thumbnails that are still to be loaded
    this.loading = 0;
  }

  // The last that was asked for comes first, and what was scrolled past never, so that scrolling waits for nothing.
  thumbnail(image) {
    return new Promise((resolve, reject) => {
      this.waiting.push(() => this.picture(image).then(resolve, reject));
      if (this.waiting.length > MOST_WAITING) this.waiting.shift();
      this.#loadThumbnails();
    });
  }

  async #loadThumbnails() {
    while (this.loading < AT_ONCE && this.waiting.length) {
      this.loading += 1;
      await this.waiting.pop()();
      this.loading -= 1;
    }
  }

  async picture(image) {
    const { picture, contours } = await this.#of(image.key);
    image.contours = contours;
    return dataAddress("image/jpeg", picture);
  }

  async map(image) {
    return dataAddress("image/png", (await this.#of(image.key)).map);
  }

  #of(key) {
    const found = this.kept.get(key) ?? this.#load(key);
    this.kept.delete(key);
    this.kept.set(key, found);
    if (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
    found.catch(() => this.kept.delete(key)); // it may be there the next time
    return found;
  }

  async #load(key) {
    const script = make("script", { src: `${this.folder}/${key}.js` });
    await new Promise((ended) => {
      script.addEventListener("load", ended);
      script.addEventListener("error", ended);
      document.head.append(script);
    });
    script.remove();
    const given = TAKEN.get(key);
    TAKEN.delete(key);
    if (!given) throw new Error(`The pictures of this report lie in the folder “${this.folder}” beside it, and this one is not there, or damaged. Keep the folder and the page together; unpack an archive as a whole.`);
    return given;
  }
}

const TAKEN = new Map(); // by key

// What the scripts beside the page call.
function takePicture(given) {
  TAKEN.set(given.key, given);
}

function dataAddress(type, text) {
  return text ? `data:${type};base64,${text}` : null;
}
