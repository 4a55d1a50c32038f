// Where a photo comes from: a file, dropped, pasted, the camera.

import { find } from "./dom.js";

const KINDS = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"];

/** Calls `taken(file)` with every photo that somebody gives, `refused(message, advice)` where the camera cannot be used. */
export function listen(taken, refused) {
  const [file, capture, over] = [find("#file"), find("#capture"), find("#over")];
  for (const input of [file, capture]) {
    input.addEventListener("change", () => {
      if (input.files[0]) taken(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  for (const button of document.querySelectorAll("[data-source]")) {
    button.addEventListener("click", async () => {
      if (button.dataset.source === "file") file.click();
      else if (!(await cameraIsHere())) capture.click(); // on a phone its own camera opens
      else {
        try {
          const photo = await photograph();
          if (photo) taken(photo);
        } catch {
          refused("The camera cannot be used.", "Allow this page to use it, or choose a file.");
        }
      }
    });
  }
  addEventListener("paste", (event) => {
    const pasted = photoIn(event.clipboardData);
    if (pasted) {
      event.preventDefault();
      taken(pasted);
    }
  });
  let depth = 0; // every element on the way says that it is entered
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (carriesFile(event)) over.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (carriesFile(event)) over.hidden = --depth <= 0;
  });
  addEventListener("dragover", (event) => {
    if (carriesFile(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    depth = 0;
    over.hidden = true;
    const dropped = photoIn(event.dataTransfer) ?? event.dataTransfer.files[0];
    if (dropped) taken(dropped);
  });
}

const photoIn = (data) => [...(data?.files ?? [])].find((file) => KINDS.includes(file.type));

async function cameraIsHere() {
  if (!navigator.mediaDevices || matchMedia("(pointer: coarse)").matches) return false;
  return (await navigator.mediaDevices.enumerateDevices()).some((device) => device.kind === "videoinput");
}

/** A photo from the camera, as a JPEG; null where somebody thinks better of it. */
async function photograph() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  const [dialog, video] = [find("#camera"), find("#camera video")];
  const take = find("[data-do=take]", dialog);
  const done = new Promise((resolve) => {
    take.onclick = () => resolve(true);
    find("[data-do=close]", dialog).onclick = () => resolve(false);
    dialog.oncancel = () => resolve(false);
  });
  try {
    take.disabled = true; // until there is something to take
    dialog.showModal();
    video.srcObject = stream;
    await video.play();
    take.disabled = false;
    if (!(await done)) return null;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  } finally {
    for (const track of stream.getTracks()) track.stop();
    dialog.close();
  }
}
