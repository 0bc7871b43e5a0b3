"use strict";
// Starts the served page.

const NEWS_EVERY = 30_000; // ms
const VERDICTS_EVERY = 1_500;
let looking = false;
let isTaken = false; // and was told so

// Verdicts of others, and images that were screened since. What came while the connection was lost comes with the next
// look. A server that is gone is noticed when it is asked for something.
async function lookForNews(images = true) {
  if (document.hidden || looking) return;
  looking = true;
  try {
    const news = await window.review.backend.news({ images });
    isTaken = false;
    if (news) window.review.renew(news.images, news.found);
  } catch (error) {
    if (error.isTaken && !isTaken) window.review.tell(error.message, "error");
    isTaken ||= Boolean(error.isTaken);
    // of all else the next look, or the reader's next step, will tell
  } finally {
    looking = false;
  }
}

(async () => {
  let backend;
  try {
    backend = await OnlineBackend.open();
  } catch (error) {
    byId("notice").hidden = false;
    byId("notice").className = "notice error";
    byId("notice-text").textContent = error.message;
    return;
  }
  const { model, worklist } = backend;
  byId("heading").textContent = [backend.reader && `reader ${backend.reader}`, worklist && `folder ${worklist.folder}`, `model ${model.label}`, `input ${model.size}`].filter(Boolean).join(" · ");
  document.body.classList.toggle("without-folder", !worklist);
  window.review = new Review(backend);
  window.checking = new Checking(window.review);
  window.printing = new Printing(window.review);
  new Agreement(window.review);
  backend.resume().catch(async (error) => {
    window.review.tell(error.message, "error");
    const news = await backend.afresh();
    if (news) window.review.renew(news.images, news.found);
  });
  setInterval(lookForNews, NEWS_EVERY);
  setInterval(() => lookForNews(false), VERDICTS_EVERY);
  document.addEventListener("visibilitychange", () => lookForNews());
  if (worklist?.remark) window.review.remark(sentence(worklist.remark));
})();
