// The half of the harness that is googletest: registers the table's rows and runs them.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/harness/test_impl.h"

namespace {

class TableTest : public ::testing::Test {
  public:
    explicit TableTest(void (*run)()) : run_(run) {}
    void TestBody() override
    {
        test_run_(run_);
        test_cleanup_();
    }

  private:
    void (*run_)();
};

// "emu/jobs/job_pause_test.c" is the suite job_pause_test.
std::string SuiteName(const char *file)
{
    std::string name(file);

    name.erase(0, name.rfind('/') + 1);
    return name.substr(0, name.rfind('.'));
}

void Register()
{
    const std::string suite = SuiteName(test_table.file);

    for (const struct test_case *row = test_table.cases; row->name; row++) {
        void (*run)() = row->run;
        ::testing::RegisterTest(suite.c_str(), row->name, nullptr, nullptr, test_table.file, 0,
                                [run]() -> ::testing::Test * { return new TableTest(run); });
    }
}

} // namespace

void test_gtest_fail_(const char *file, int line, const char *text)
{
    ADD_FAILURE_AT(file, line) << text;
}

void test_gtest_skip_(const char *text) { GTEST_SKIP() << text; }

bool test_gtest_has_failed_(void) { return ::testing::Test::HasFailure(); }

int main(int argc, char **argv)
{
    ::testing::InitGoogleTest(&argc, argv);
    Register();

    const int status = RUN_ALL_TESTS();
    const ::testing::UnitTest *all = ::testing::UnitTest::GetInstance();

    std::printf("%d passed, %d failed, %d skipped\n", all->successful_test_count(),
                all->failed_test_count(), all->skipped_test_count());
    return status;
}
