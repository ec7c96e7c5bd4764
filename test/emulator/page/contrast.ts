import type { Page as Tab } from 'playwright-core';

/**
 * Visible elements whose contrast with their background is below the requirement of WCAG 2.2 (1.4.3, AA): 4.5:1, or 3:1
 * for large ones. Controls that are disabled don't count.
 */
export const faintTexts = (tab: Tab): Promise<string[]> => tab.evaluate(FIND) as Promise<string[]>;

/** As text, since it runs in the browser: the types of its objects are not known here. */
const FIND = `(() => {
  const channels = (color) => {
    const [r = 0, g = 0, b = 0, a = 1] = (color.match(/[\\d.]+/g) ?? []).map(Number);
    return { r, g, b, a };
  };
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const over = (top, below) => {
    const mix = (name) => top[name] * top.a + below[name] * (1 - top.a);
    return { r: mix('r'), g: mix('g'), b: mix('b'), a: 1 };
  };
  const behind = (element) => {
    if (element === null) return channels('rgb(255, 255, 255)');
    const own = channels(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own : over(own, behind(element.parentElement));
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (texts.currentNode.data.trim() === '' || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest('.unseen, option, :disabled, [aria-disabled=true]') !== null) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    const [light, dark] = [luminance(over(channels(style.color), back)), luminance(back)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    count += 1;
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(ratio.toFixed(2) + ' ' + style.color + ': ' + texts.currentNode.data.slice(0, 60));
  }
  if (count < 5) faint.push('only ' + count + ' texts were found');
  return faint;
})()`;
