/** How well `text` holds the letters of `typed` in their order; 0 when it does not. Beginnings of words count most. */
export function score(text: string, typed: string): number {
  const [whole, part] = [text.toLowerCase(), typed.toLowerCase()];
  const found = whole.indexOf(part);
  if (found >= 0) return 100 - Math.min(found, 40) + (found === 0 || /[^a-z0-9]/.test(whole[found - 1]) ? 50 : 0);
  let at = -1;
  for (const letter of part) {
    at = whole.indexOf(letter, at + 1);
    if (at < 0) return 0;
  }
  return 10;
}
