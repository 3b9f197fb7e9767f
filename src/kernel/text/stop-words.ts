/**
 * Words that say nothing about what a question is about. They stay in the index (a title may consist of them) and are
 * left out of a query that has anything else to go by. English ones are written as the tokenizer yields them, unstemmed.
 */
const ENGLISH = `a about above after again against all am an and any are aren't as at be because been before being below
between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for from
further had hadn't has hasn't have haven't having he her here hers herself him himself his how i if in into is isn't it
its itself just let me more most mustn't my myself no nor not of off on once only or other ought our ours ourselves out
over own please same shan't she should shouldn't so some such tell than that the their theirs them themselves then there
these they this those through to too under until up upon us very was wasn't we were weren't what when where whether which
while who whom whose why will with won't would wouldn't you your yours yourself yourselves`;

/** Chinese function and question words, and single characters of that kind. */
const CHINESE = `的 了 和 是 在 就 都 而 及 与 與 着 著 或 一个 一個 没有 沒有 我 你 您 他 她 它 我们 你们 他们 她们 它们
我們 你們 他們 这 那 這 这个 那个 這個 那個 这些 那些 這些 什么 什麼 怎么 怎麼 怎样 如何 为什么 為什麼 为何 谁 誰 哪 哪里 哪裡 哪些
哪个 哪個 哪种 哪一 多少 几 幾 何时 何 吗 嗎 呢 吧 啊 被 把 对 對 于 於 从 從 以 之 其 所 会 會 能 可以 请 請 请问 也 还 還 又 很 到 由 上
中 下 里 为 為 有 不 一 个 個 们 們 地 得 等`;

/** Japanese particles, copulas and question words. */
const JAPANESE = `の に は を た が で て と し れ さ ある いる も する から な こと として い や れる など なっ ない この ため その
あっ よう また もの あり まで られ なる へ か だ これ によって により おり より による ず なり られる において ば なかっ なく しかし について だっ
せる です ます でし まし ですか ますか なに 何 どこ だれ 誰 いつ なぜ どの どれ どう どんな いくつ いくら`;

const STOP_WORDS: ReadonlySet<string> = new Set(
  [ENGLISH, CHINESE, JAPANESE].flatMap((list) => list.split(/\s+/)).map((word) => word.replaceAll("'", '')),
);

/** `word`: case-folded and without apostrophes, as `words.ts` yields it before stemming. */
export function isStopWord(word: string): boolean {
  return STOP_WORDS.has(word);
}
