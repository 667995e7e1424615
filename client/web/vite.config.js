// Everything in a few files that the daemon serves itself: nothing inline, because its Content-Security-Policy forbids it. And once more
// in one file, as a template that `modelmap map --html` puts data into: everything inline, allowed by its hash, and nothing else.
import { createHash } from "node:crypto";

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

function oneFile() {
	return {
		name: "one-file",
		enforce: "post",
		generateBundle(_, bundle) {
			const page = bundle["index.html"].source, files = Object.values(bundle);
			const scripts = files.filter((f) => f.type === "chunk"), styles = files.filter((f) => f.fileName.endsWith(".css"));
			if (scripts.length !== 1 || styles.length !== 1) throw new Error("one-file.tmpl holds one script and one style");
			const script = scripts[0].code.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--"), style = String(styles[0].source);
			const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data: blob:; base-uri 'none'; form-action 'none'`;
			const text = page
				.replace(/\s*<script type="module"[^>]*><\/script>/, "")
				.replace(/\s*<link rel="stylesheet"[^>]*>/, () => `\n<style>${style}</style>`)
				.replace('<meta charset="utf-8">', () => `<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="${policy}">`)
				.replace("</body>", () => `<script type="module">${script}</script>\n</body>`);
			if (/<(?:script|link)[^>]*(?:src|href)="(?!data:)/.test(text.replace(script, ""))) throw new Error("one-file.tmpl loads something");
			this.emitFile({ type: "asset", fileName: "one-file.tmpl", source: text });
		},
	};
}

export default {
	base: "./",
	plugins: [oneFile()],
	build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022", reportCompressedSize: false },
};
