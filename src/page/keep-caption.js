// What a person may take away: the words, or the whole answer.

function download(text, type, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** `answer()` is the caption-end event's data; `fileName()` the captioned file's. */
export function offerToKeep({ copy, saveText, saveJson }, answer, fileName, say) {
  const stem = () => fileName().replace(/\.[^.]*$/, '') || 'caption';
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(answer().caption);
      say('Copied.');
    } catch {
      say('The browser does not let this page copy. Select the words instead.');
    }
  });
  saveText.addEventListener('click', () => download(answer().caption + '\n', 'text/plain', stem() + '.txt'));
  saveJson.addEventListener('click', () =>
    download(JSON.stringify(answer(), null, 2) + '\n', 'application/json', stem() + '.json'),
  );
}
