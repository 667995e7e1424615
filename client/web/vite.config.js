// Everything in a few files that the daemon serves itself: nothing inline, because its Content-Security-Policy forbids it.
export default {
	base: "./",
	build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022", reportCompressedSize: false },
};
