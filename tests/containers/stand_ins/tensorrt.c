// Stands in for TensorRT's libraries, which no registry at hand has: it says its version and makes nothing.
#define NOTHING(name) \
  void *name(void) { return 0; }

int getInferLibMajorVersion(void) { return VERSION_MAJOR; }
int getInferLibMinorVersion(void) { return VERSION_MINOR; }
int getInferLibPatchVersion(void) { return VERSION_PATCH; }
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void *logger, const char *space) { return 0; }
NOTHING(createInferBuilder_INTERNAL)
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(getPluginRegistry)
NOTHING(getBuilderPluginRegistry)
