/** The bare side of `pdf`: unpdf's own text of every page, in a process that does nothing else. */
import { extractText, getDocumentProxy } from 'unpdf';

process.on('message', async (path: string) => {
  const started = performance.now();
  const pdf = await getDocumentProxy(await Bun.file(path).bytes());
  const { totalPages, text } = await extractText(pdf, { mergePages: false });
  await pdf.loadingTask.destroy();
  const chars = text.reduce((sum, page) => sum + page.length, 0);
  process.send?.({ pages: totalPages, chars, ms: performance.now() - started });
});
process.on('disconnect', () => process.exit(0));
