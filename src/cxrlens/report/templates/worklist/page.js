"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
for (const image of data.images) {
  const row = document.createElement("p");
  if (image.shown) {
    const picture = document.createElement("img");
    picture.alt = "";
    picture.src = `data:image/jpeg;base64,${document.getElementById(`picture-${image.key}`).textContent}`;
    row.append(picture);
  }
  row.append(` ${image.name}: ${image.probability ?? "no probability"}; ${image.triage ?? image.decision ?? image.status}; ${image.reason}`);
  document.getElementById("list").append(row);
}
